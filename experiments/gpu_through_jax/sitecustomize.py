"""Compute on a GPU that TensorFlow does not find, by JAX: put this folder on PYTHONPATH.

    PYTHONPATH=experiments/gpu_through_jax python -m course study --splits 5 --seeds 2

TensorFlow lowers this project's own functions (a step of the GANs', a step of the classifier's, its
answers) to XLA programs, and JAX, which must be installed, compiles and runs them on its first
device: for cards whose driver is too new for TensorFlow's CUDA. Weights begin as they would
without; XLA draws other random numbers from a seed, so a run is another sample of the same
distribution. Products are float32 as such a card has them by default, TF32. Python imports a module
of this name by itself when it starts, so kernels and worker processes compute there too.
"""

import functools
import importlib.abc
import importlib.machinery
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")  # TensorFlow counts steps in 64 bits
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # many processes, one card
PREDICTED_AT_ONCE = 64


class OnDevice:
    """A TensorFlow function, called on JAX's device, where its variables live from push to pull."""

    def __init__(self, function: Callable, owners: Iterable[Any]) -> None:
        """`owners`: the models, optimizers and metrics whose variables the function may use."""
        self.function = function
        found = [variable for owner in owners for variable in owner.variables]
        # Always in the same order: one program in every process, compiled once.
        self.variables = list({id(variable): variable for variable in found}.values())
        self.values: list[Any] = []
        self._jitted: Callable | None = None

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns, as JAX's arrays; all calls have the first one's shapes."""
        import numpy as np

        arrays = [np.asarray(argument) for argument in arguments]
        if self._jitted is None:
            self._lower(arrays)
        if not self.values:
            self.push()
        found, self.values = self._jitted(self.values, *arrays)
        return found

    def push(self) -> None:
        """Take the variables' values from TensorFlow; before the first call there are none."""
        import jax
        import numpy as np

        if self._jitted is not None:
            self.values = jax.device_put([np.asarray(variable) for variable in self.variables])

    def pull(self) -> None:
        """Give the variables' values back to TensorFlow."""
        import jax

        for variable, value in zip(self.variables, jax.device_get(self.values), strict=False):
            variable.assign(value)

    def _lower(self, examples: list[Any]) -> None:
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

        self._jitted = jax.jit(lowered, donate_argnums=0)


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


def change_training(training: ModuleType) -> None:
    """GAN steps run on the device; TensorFlow has the weights where pictures or files need them."""
    train, save = training.train_gan, training._State.save
    default = inspect.signature(train).parameters["make_step"].default
    running: dict[str, Any] = {}

    def train_gan(images, *, steps, preview_every=50, make_step=default, **named):
        @functools.wraps(make_step)
        def make_on_device(generator, discriminator, first, second, recipe, averaged, xla):
            parts = generator, discriminator, first, second
            owners = [*parts, averaged] if averaged else parts
            step = OnDevice(make_step(*parts, recipe, averaged, xla), owners)
            running["step"] = step

            def train_step(real, seed):
                import jax

                values = jax.device_get(step(real, seed))
                done = int(seed[1]) + 1
                if done % preview_every == 0 or done == steps:
                    step.pull()
                return values

            return train_step

        named |= {"preview_every": preview_every, "make_step": make_on_device}
        return train(images, steps=steps, **named)

    def save_what_is_there(state, folder):
        running["step"].pull()
        save(state, folder)

    training.train_gan = functools.wraps(train)(train_gan)
    training._State.save = save_what_is_there


def change_classifiers(classifiers: ModuleType) -> None:
    """A classifier trained whole is fitted, settled and asked on the device."""
    fit, predict = classifiers.fit, classifiers.predict
    known: dict[tuple[str, int], tuple[Any, OnDevice]] = {}

    def on_device(kind, model, function, *owners):
        # With the model, so that its id stays its own.
        made = model, OnDevice(function, [model, *owners])
        return known.setdefault((kind, id(model)), made)[1]

    def run(step, batches):
        step.push()
        for batch in batches:
            step(*batch)
        step.pull()

    def fit_there(classifier, arm, *, steps, seed):
        model, size = classifier.model, classifiers.BATCH_SIZE
        if classifier.learner is not model:
            return fit(classifier, arm, steps=steps, seed=seed)
        images, labels = classifiers.draw_batches(arm, steps, seed)
        model._symbolic_build(data_batch=(images[:size], labels[:size]))  # metrics' variables
        classifier.reset(seed)
        batches = [slice(k, k + size) for k in range(0, len(images), size)]
        parts = model.optimizer, *model.metrics
        learn = on_device("learn", model, lambda x, y: model.train_step((x, y)), *parts)
        run(learn, ((images[batch], labels[batch]) for batch in batches))
        settle = on_device("settle", model, lambda x: model(x, training=True))
        run(settle, ((images[batch],) for batch in batches[-classifiers.SETTLING :]))
        return model

    def predict_there(model, images):
        import numpy as np

        if model.name == "head":  # on a frozen trunk; its features take no time
            return predict(model, images)
        ask = on_device("ask", model, lambda x: model(x, training=False))
        ask.push()
        count, rest = len(images), -len(images) % PREDICTED_AT_ONCE
        whole = np.concatenate([images, np.zeros((rest, *images.shape[1:]), images.dtype)])
        parts = np.split(whole, len(whole) // PREDICTED_AT_ONCE)
        return np.concatenate([np.asarray(ask(part)) for part in parts])[:count]

    classifiers.fit = functools.wraps(fit)(fit_there)
    classifiers.predict = functools.wraps(predict)(predict_there)


def change_machine(machine: ModuleType) -> None:
    """Files say that JAX computed, and on what; nothing is timed or chosen for a processor."""
    versions, choose, find = machine.versions, machine.choose_precision, machine.setup

    def choose_precision(asked="auto"):
        return choose("float32" if asked == "auto" else asked)

    @functools.cache
    def versions_and_device():
        import jax

        return versions() | {"jax": jax.__version__, "device": jax.devices()[0].device_kind}

    def setup():
        device = versions_and_device()["device"]
        return find().replace("no GPU: CPU", f"{device}, by JAX")

    machine.choose_precision = choose_precision
    machine.setup = setup
    machine.versions = lambda: dict(versions_and_device())


CHANGES = {
    "helpers.training": change_training,
    "helpers.classifiers": change_classifiers,
    "helpers.machine": change_machine,
}


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules in `CHANGES` as Python would, and changes them once they are loaded."""

    def find_spec(self, name, path, target=None):
        """Python's own answer, with the change behind its loader."""
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            CHANGES[name](module)

        spec.loader.exec_module = load_and_change
        return spec


sys.meta_path.insert(0, Finder())
