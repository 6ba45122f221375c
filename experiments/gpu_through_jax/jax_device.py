"""Compute on a GPU that TensorFlow does not find, by JAX: name this module in COURSE_DEVICE.

    export PYTHONPATH=experiments/gpu_through_jax COURSE_DEVICE=jax_device
    python -m course study --seeds 2

TensorFlow lowers this project's own functions (a step of the GANs', a step of the classifier's, its
answers) to XLA programs, and JAX, which must be installed, compiles and runs them on its first
device: for cards whose driver is too new for TensorFlow's CUDA. Weights begin as they would
without; XLA draws other random numbers from a seed, so a run is another sample of the same
distribution. Products are float32 as such a card has them by default, TF32. `helpers.machine` asks
this module for `place`, `fit`, `predict`, `describe` and `versions`; kernels and worker processes
inherit both variables.
"""

import functools
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # many processes, one card
PREDICTED_AT_ONCE = 64


# --- What helpers.machine asks for ----------------------------------------------------------------


@functools.cache
def describe() -> str:
    """The device that computes."""
    import jax

    return f"{jax.devices()[0].device_kind}, by JAX"


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    import jax

    return ("jax", jax.__version__), ("device", jax.devices()[0].device_kind)


def versions() -> dict[str, str]:
    """JAX's version and the device, for the files that say how a number was made."""
    return dict(_versions())


def place(function: Callable, owners: Iterable[Any]) -> tuple[Callable, Callable[[], None]]:
    """The function on the device, and a function that brings its owners' variables back."""
    step = OnDevice(function, owners)

    def call(*arguments: Any) -> Any:
        import jax

        return jax.device_get(step(*arguments))

    return call, step.pull


def fit(
    model: Any, images: np.ndarray, labels: np.ndarray, rates: np.ndarray, plain: np.ndarray
) -> None:
    """Train a compiled Keras model on batches, then settle its moving averages.

    Args:
        model: Its weights are replaced.
        images, labels: All batches, one after another.
        rates: The learning rate of each batch.
        plain: Batches by which the averages alone move.
    """
    size = len(images) // len(rates)
    model._symbolic_build(data_batch=(images[:size], labels[:size]))  # metrics' variables
    parts = model.optimizer, *model.metrics

    def train(x: Any, y: Any, rate: Any) -> Any:
        model.optimizer.learning_rate.assign(rate)
        return model.train_step((x, y))

    count = len(rates)
    learn = _on_device("learn", model, train, *parts)
    _run(learn, zip(np.split(images, count), np.split(labels, count), rates, strict=True))
    settle = _on_device("settle", model, lambda x: model(x, training=True))
    _run(settle, ((batch,) for batch in np.split(plain, len(plain) // size)))


def predict(model: Any, images: np.ndarray) -> np.ndarray:
    """What a Keras model answers to each image, ``(n, answers)``."""
    ask = _on_device("ask", model, lambda x: model(x, training=False))
    ask.push()
    count, rest = len(images), -len(images) % PREDICTED_AT_ONCE
    whole = np.concatenate([images, np.zeros((rest, *images.shape[1:]), images.dtype)])
    parts = np.split(whole, len(whole) // PREDICTED_AT_ONCE)
    return np.concatenate([np.asarray(ask(part)) for part in parts])[:count]


def _run(step: "OnDevice", batches: Iterable[tuple]) -> None:
    step.push()
    for batch in batches:
        step(*batch)
    step.pull()


_KNOWN: dict[tuple[str, int], tuple[Any, "OnDevice"]] = {}


def _on_device(kind: str, model: Any, function: Callable, *owners: Any) -> "OnDevice":
    """The model's function of this kind, lowered once."""
    made = model, OnDevice(function, [model, *owners])  # with the model, so that its id stays its
    return _KNOWN.setdefault((kind, id(model)), made)[1]


# --- From TensorFlow to JAX -----------------------------------------------------------------------


class OnDevice:
    """A TensorFlow function, called on JAX's device, where its variables live from push to pull."""

    def __init__(self, function: Callable, owners: Iterable[Any]) -> None:
        """`owners`: the models, optimizers and metrics whose variables the function may use."""
        import jax

        # TensorFlow counts steps in 64 bits. Keras may have loaded JAX already, so a variable of
        # the environment would come too late.
        jax.config.update("jax_enable_x64", True)
        self.function = function
        found = [variable for owner in owners for variable in owner.variables]
        # Always in the same order: one program in every process, compiled once.
        self.variables = list({id(variable): variable for variable in found}.values())
        self.values: list[Any] = []
        self.program: Callable | None = None  # of values and arguments; after `lower`

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns, as JAX's arrays; all calls have the first one's shapes."""
        arrays = [np.asarray(argument) for argument in arguments]
        if self.program is None:
            self.lower(arrays)
        if not self.values:
            self.push()
        found, self.values = self.program(self.values, *arrays)
        return found

    def push(self) -> None:
        """Take the variables' values from TensorFlow; before the first call there are none."""
        import jax

        if self.program is not None:
            self.values = jax.device_put([np.asarray(variable) for variable in self.variables])

    def pull(self) -> None:
        """Give the variables' values back to TensorFlow."""
        import jax

        for variable, value in zip(self.variables, jax.device_get(self.values), strict=False):
            variable.assign(value)

    def lower(self, examples: list[Any]) -> None:
        """Make the program, for arguments of these shapes."""
        import jax
        import tensorflow as tf
        from jax._src.lib import _jax
        from jax._src.lib.mlir import ir
        from jax._src.lib.mlir.dialects import func
        from jax.extend.core import Primitive
        from jax.interpreters import mlir

        variables, count = [variable.value for variable in self.variables], len(self.variables)

        @tf.function(jit_compile=True, autograph=False)
        def pure(*given):
            for variable, value in zip(variables, given[:count], strict=True):
                variable.assign(value)
            return self.function(*given[count:]), [variable.read_value() for variable in variables]

        specs = [tf.TensorSpec(each.shape, each.dtype) for each in [*variables, *examples]]
        concrete = pure.get_concrete_function(*specs)
        program = _jax.mlir.hlo_to_stablehlo(
            pure.experimental_get_compiler_ir(*specs)(stage="hlo_serialized", platform_name="CPU")
        )
        handles = {id(variable.handle): k for k, variable in enumerate(variables)}
        captured = [handles.get(id(each), each) for each in concrete.captured_inputs]
        results = tf.nest.flatten(concrete.structured_outputs)

        def lower(context, *arguments):
            module = ir.Module.parse(program)
            drop_copies(module)
            main = ir.SymbolTable(module.operation)["main"]
            # The program is given what it captured, too: variables, which it sets before it reads.
            more = [arguments[each] if isinstance(each, int) else mlir.ir_constant(each.numpy())
                    for each in captured]  # fmt: skip
            name = mlir.merge_mlir_modules(
                context.module_context.module, "lowered", module,
                dst_symtab=context.module_context.symbol_table,
            )  # fmt: skip
            call = func.CallOp(
                main.type.results, ir.FlatSymbolRefAttr.get(name), [*arguments, *more]
            )
            return list(call.results)[: len(results)]  # behind them are the variables once more

        primitive = Primitive("lowered")
        primitive.multiple_results = True
        primitive.def_abstract_eval(
            lambda *_: [jax.core.ShapedArray(x.shape, x.dtype.as_numpy_dtype) for x in results]
        )
        mlir.register_lowering(primitive, lower)

        def lowered(values, *arguments):
            found = primitive.bind(*values, *arguments)
            return tf.nest.pack_sequence_as(concrete.structured_outputs, found)

        self.program = jax.jit(lowered, donate_argnums=0)


def drop_copies(module: Any) -> None:
    """Take out TensorFlow's copies of what it returns, for which StableHLO has no word."""

    def copies(operations):
        for operation in operations:
            if operation.operation.name == "mhlo.copy":
                yield operation
            for region in operation.regions:
                for block in region:
                    yield from copies(block)

    for operation in list(copies(module.body)):
        operation.result.replace_all_uses_with(operation.operands[0])
        operation.operation.erase()
