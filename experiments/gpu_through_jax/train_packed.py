"""Train packed GANs on a machine that has JAX, and neither TensorFlow nor this course.

    python train_packed.py FOLDER --out FOLDER [--kinds paper quarter] [--seconds 500]

`packed.py` made the first FOLDER. NumPy and JAX are all that this file imports. Before anything is
trained, the first steps are compared with TensorFlow's, from the same weights. Then the trainings
follow in the order of the plan, each with the images that it draws at each length. What is not
finished after `--seconds` is left out; the same command resumes.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

# Most difference from TensorFlow's losses, relative: in TF32, a GPU's default, small differences
# grow from step to step. A step that does nothing, or something else, differs by more.
AT_FIRST, LATER = 1e-2, 0.3
ARCHIVE = 12 * 2**20  # bytes of images in one file


def draw_start(variables: list[dict[str, Any]], seed: int) -> list[np.ndarray]:
    """First values of all variables of a training.

    Args:
        variables: By their order, from `packed.describe_start`: a constant, a seed, a kernel drawn
            uniformly between two limits, or a copy of another variable.
        seed: Of the kernels, and of dropout.
    """
    values: list[np.ndarray] = []
    for number, each in enumerate(variables):
        shape, kind = tuple(each["shape"]), each["kind"]
        if kind == "copy":
            value = values[each["of"]].copy()
        elif kind == "kernel":
            rng = np.random.default_rng([seed, number])
            value = rng.uniform(-each["limit"], each["limit"], shape)
        elif kind == "seed":
            value = np.array([seed, 0])
        else:
            value = np.full(shape, each["value"])
        values.append(np.asarray(value, each["dtype"]))
    return values


class Packed:
    """The programs of one recipe, compiled here at their first call."""

    def __init__(self, folder: Path, recipe: str, plan: dict[str, Any]) -> None:
        """Read what `packed.py` exported."""
        import jax
        from jax import export

        jax.config.update("jax_enable_x64", True)  # TensorFlow counts steps in 64 bits
        train, draw = (
            export.deserialize((folder / f"{recipe}-{name}.jax").read_bytes()).call
            for name in ("train", "draw")
        )
        self._train = jax.jit(train, donate_argnums=0)
        self._draw = jax.jit(draw)
        self.variables = plan["start"][recipe]
        self.stretch = plan["stretch"]
        self.most_drawn = plan["most_drawn"]

    def train(
        self, values: list, data: np.ndarray, order: np.ndarray, first: int, seed: int
    ) -> tuple[np.ndarray, list]:
        """One stretch of steps.

        Args:
            values: Of all variables; they are used up.
            data: ``(most, 32, 32, 1)``.
            order: ``(stretch, 16)``, places in `data`.
            first: Number of the first step.
            seed: Of the training.

        Returns:
            Losses of the discriminator and of the generator ``(stretch, 2)``, and the new values.
        """
        numbers = np.array([seed, first], np.int32)
        losses, values = self._train(values, data, np.asarray(order, np.int32), numbers)
        return np.asarray(losses), values

    def draw(self, values: list, latent: np.ndarray) -> np.ndarray:
        """Images ``(n, 32, 32, 1)`` of latent vectors ``(n, 100)``."""
        padded = np.zeros((self.most_drawn, latent.shape[1]), np.float32)
        padded[: len(latent)] = latent
        return np.asarray(self._draw(values, padded))[: len(latent)]


def run_training(
    packed: Packed, each: dict[str, Any], arrays: Any, deadline: float
) -> dict[str, np.ndarray] | None:
    """Train one GAN, and draw at each length; None if time is up.

    Args:
        packed: Programs of its recipe.
        each: The training, as the plan has it.
        arrays: `slices`, and by number `order-N` and `latent-N`.
        deadline: By `time.monotonic`.

    Returns:
        Images by length, in half precision, and `losses`.
    """
    number, losses, found = each["number"], [], {}
    data = np.zeros((packed.most_drawn, 32, 32, 1), np.float32)
    data[: len(each["rows"])] = arrays["slices"][each["rows"]]
    order, latent = arrays[f"order-{number}"], arrays[f"latent-{number}"]
    values = draw_start(packed.variables, each["seed"])
    for first in range(0, len(order), packed.stretch):
        stretch = order[first : first + packed.stretch]
        of_stretch, values = packed.train(values, data, stretch, first, each["seed"])
        losses.append(of_stretch)
        if not np.isfinite(of_stretch).all():
            raise SystemExit(f"{each['folder']}: a loss became NaN or infinite.")
        if (done := first + packed.stretch) in each["kept"]:
            found[f"drawn-{done}"] = packed.draw(values, latent).astype(np.float16)
        if time.monotonic() > deadline:
            return None
    return found | {"losses": np.concatenate(losses).astype(np.float32)}


def compare_first_steps(packed: Packed, check: dict[str, Any], arrays: Any) -> list[float]:
    """The difference from TensorFlow's losses by step, from the same weights and batches."""
    each, expected = check["training"], np.array(check["losses"])
    data = np.zeros((packed.most_drawn, 32, 32, 1), np.float32)
    data[: len(each["rows"])] = arrays["slices"][each["rows"]]
    values = draw_start(packed.variables, each["seed"])
    order = arrays[f"order-{each['number']}"][: packed.stretch]
    losses, _ = packed.train(values, data, order, 0, each["seed"])
    difference = np.abs(losses[: len(expected)] - expected)
    return np.max(difference / np.maximum(1, np.abs(expected)), axis=1).tolist()


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=["paper", "quarter", "brief"])
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--most", type=int, default=10**6, help="trainings")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N",
        help="train only every N-th of them: N processes share the work, each with its own --out",
    )  # fmt: skip
    parser.add_argument("--begin", type=int, default=0, help="the first of those, from 0")
    asked = parser.parse_args(arguments)
    deadline = time.monotonic() + asked.seconds
    import jax

    plan = json.loads((asked.folder / "plan.json").read_text())
    arrays = dict(np.load(asked.folder / "arrays.npz"))
    asked.out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0].device_kind
    print(f"JAX {jax.__version__} on {device}", flush=True)
    done = {
        name.split(":")[0]
        for path in asked.out.glob("images-*.npz")
        for name in np.load(path).files
    }
    of_kinds = [each for each in plan["trainings"] if each["kind"] in asked.kinds]
    todo = [x for x in of_kinds[asked.begin :: asked.every] if x["folder"] not in done]
    todo = todo[: asked.most]
    programs: dict[str, Packed] = {}
    found: dict[str, np.ndarray] = {}
    number = len(list(asked.out.glob("images-*.npz")))
    facts = {"device": device, "jax": jax.__version__, "commit": plan["commit"], "differences": {}}
    facts["trained_on"] = {each["folder"]: each["trained_on"] for each in plan["trainings"]}
    for each in todo:
        recipe, began = each["recipe"], time.monotonic()
        if recipe not in programs:
            programs[recipe] = Packed(asked.folder, recipe, plan)
            apart = compare_first_steps(programs[recipe], plan["checks"][recipe], arrays)
            facts["differences"][recipe] = apart
            print(f"{recipe}: compiled after {time.monotonic() - began:.0f} s; losses differ from "
                  f"TensorFlow's by {apart[0]:.1e} at first, by {max(apart):.1e} at most in "
                  f"{len(apart)} steps", flush=True)  # fmt: skip
            if apart[0] > AT_FIRST or max(apart) > LATER:
                raise SystemExit("That is too much: nothing is trained.")
            began = time.monotonic()
        images = run_training(programs[recipe], each, arrays, deadline)
        if images is None:
            print("Time is up.", flush=True)
            break
        seconds = time.monotonic() - began
        images["seconds"] = np.array(seconds)
        found |= {f"{each['folder']}:{name}": value for name, value in images.items()}
        print(f"{each['folder']}: {seconds:.1f} s", flush=True)
        if sum(value.nbytes for value in found.values()) > ARCHIVE or each is todo[-1]:
            number = write(asked.out, number, found, facts)
            found = {}
    if found:
        write(asked.out, number, found, facts)


def write(out: Path, number: int, found: dict[str, np.ndarray], facts: dict[str, Any]) -> int:
    """Write an archive of finished trainings; gives the next one's number."""
    temporary = out / "new.npz"
    np.savez_compressed(temporary, **found)
    temporary.rename(out / f"images-{number}.npz")
    (out / "facts.json").write_text(json.dumps(facts, indent=1))
    return number + 1


if __name__ == "__main__":
    sys.exit(main())
