"""The GANs of the published experiment, packed for a machine with a GPU and JAX alone.

    export PYTHONPATH=experiments:experiments/gpu_through_jax
    python experiments/gpu_through_jax/packed.py pack --data head-ct-hemorrhage --out FOLDER
    python train_packed.py FOLDER --out DRAWN            (there; see that file)
    python experiments/gpu_through_jax/packed.py unpack DRAWN --gans FOLDER

A pack holds the training step and the generator of each recipe as programs that JAX compiles, the
prepared slices, the order of the images and the latent vectors of each training. What comes back
are the images that each generator drew, at each length, and no weights: `published.py` takes them
in a generator's place. Weights begin with the distribution of Keras' initializers, drawn by NumPy.
The pack and the images may show real patients: never share them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax_device
import numpy as np
import published_gans
import train_packed
from published_gans import FOLDS_FILE, commit

from course.commands import command
from course.replicate import ADDED
from helpers import files, machine, preprocessing
from helpers.files import CourseError

STRETCH = 250  # steps in one call; all lengths are multiples of it
COMPARED = 20  # first steps, whose losses are kept
MOST_DRAWN = 288  # rows of every array, so that each program is compiled once
LOSSES = ("discriminator_loss", "generator_loss")
PLATFORMS = ("cpu", "cuda")


def build(recipe_name: str, seed: int) -> tuple[Any, list[Any]]:
    """Generator, discriminator, optimizers and averaged generator, as `train_gan` has them."""
    from helpers import recipes, training

    machine.seed_everything(seed)
    recipe = recipes.RECIPES[recipe_name]
    networks, averaged = training.build_networks(recipe, "float32")
    optimizers = training.build_optimizers(recipe, *networks)
    if averaged:
        averaged.set_weights(networks[0].get_weights())
    return recipe, [*networks, *optimizers, averaged]


def list_variables(parts: list[Any]) -> list[Any]:
    """All variables, each once, in the order in which programs take them."""
    found = [variable for part in parts if part is not None for variable in part.variables]
    return list({id(variable): variable for variable in found}.values())


def describe_start(recipe_name: str) -> list[dict[str, Any]]:
    """How each variable of a training begins, found by building it with two seeds.

    Raises:
        CourseError: A variable that begins in a way that this file does not know.
    """
    first, second = (list_variables(build(recipe_name, seed)[1]) for seed in (0, 1))
    values = [[np.asarray(variable) for variable in each] for each in (first, second)]
    found: list[dict[str, Any]] = []
    for k, (one, two) in enumerate(zip(*values, strict=True)):
        same = {"shape": list(one.shape), "dtype": str(one.dtype)}
        copies = [
            j for j in range(k) if one.size > 1 and one.shape == values[0][j].shape
            and np.array_equal(one, values[0][j]) and np.array_equal(two, values[1][j])
        ]  # fmt: skip
        if one.size and (one == one.flat[0]).all() and np.array_equal(one, two):
            found.append(same | {"kind": "constant", "value": one.flat[0].item()})
        elif copies:
            found.append(same | {"kind": "copy", "of": copies[0]})
        elif first[k].path.endswith("seed_generator_state"):
            found.append(same | {"kind": "seed"})
        elif first[k].path.endswith("kernel"):
            # Keras' own: uniform, as far as the root of 6 over inputs and outputs of a unit; the
            # generator's last layer begins with a tenth.
            usual = np.sqrt(6 / (np.prod(one.shape[:-2]) * sum(one.shape[-2:])))
            furthest = np.abs(np.stack([one, two])).max()
            limits = [share * usual for share in (1, 0.1) if 0.95 < furthest / share / usual <= 1]
            if not limits:
                raise CourseError(f"{first[k].path} does not begin as this program expects.")
            found.append(same | {"kind": "kernel", "limit": float(limits[0])})
        else:
            raise CourseError(f"{first[k].path} begins in a way that this program does not know.")
    return found


def export_programs(recipe_name: str, out: Path) -> None:
    """Write a stretch of training steps and the generator's answer as JAX programs."""
    import jax
    from jax import export
    from jax import numpy as jnp

    from helpers import gan

    recipe, parts = build(recipe_name, 0)
    averaged = parts[-1]
    step = gan.make_train_step(*parts[:4], recipe, averaged)
    owners = [part for part in parts if part is not None]
    batch, pair = np.zeros((16, 32, 32, 1), np.float32), np.zeros(2, np.int32)
    learn = jax_device.OnDevice(step, owners)
    learn.lower([batch, pair])
    drawing = averaged or parts[0]
    ask = jax_device.OnDevice(lambda latent: drawing(latent, training=False), owners)
    latent = np.zeros((MOST_DRAWN, drawing.input_shape[-1]), np.float32)
    ask.lower([latent])

    def train(values, data, order, numbers):
        def one(values, k):
            losses, values = learn.program(
                values, data[order[k]], jnp.stack([numbers[0], numbers[1] + k])
            )
            return values, jnp.stack([losses[name] for name in LOSSES])

        values, losses = jax.lax.scan(one, values, jnp.arange(STRETCH, dtype=jnp.int32))
        return losses, values

    def draw(values, latent):
        return ask.program(values, latent)[0]

    values = [np.asarray(variable) for variable in learn.variables]
    shapes = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in values]
    data = jax.ShapeDtypeStruct((MOST_DRAWN, 32, 32, 1), np.float32)
    order = jax.ShapeDtypeStruct((STRETCH, 16), np.int32)
    numbers, latent = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (pair, latent))
    for name, function, given in (
        ("train", train, (shapes, data, order, numbers)),
        ("draw", draw, (shapes, latent)),
    ):
        program = export.export(jax.jit(function), platforms=PLATFORMS)(*given)
        (out / f"{recipe_name}-{name}.jax").write_bytes(program.serialize())


def first_losses(
    recipe_name: str, variables: list[dict], each: dict, images: np.ndarray
) -> list[list[float]]:
    """The losses of a training's first steps by TensorFlow, which XLA compiles: same numbers."""
    import tensorflow as tf

    from helpers import gan
    from helpers.training import batch_of

    recipe, parts = build(recipe_name, 0)
    start = train_packed.draw_start(variables, each["seed"])
    for variable, value in zip(list_variables(parts), start, strict=True):
        variable.assign(value)
    step = gan.make_train_step(*parts[:4], recipe, parts[-1], xla=True)
    losses = []
    for number in range(COMPARED):
        batch = tf.constant(images[batch_of(number, len(images), 16, each["seed"])])
        found = step(batch, tf.constant([each["seed"], number]))
        losses.append([float(found[name]) for name in LOSSES])
    return losses


def pack(data: Path, out: Path, kinds: list[str]) -> None:
    """Write the pack of all trainings of these kinds."""
    from helpers import sampling
    from helpers.training import batch_of

    machine.setup()
    plan, slices = published_gans.read_plan(data)
    images, labels = preprocessing.prepare(slices.greys), slices.table["label"].to_numpy()
    names = slices.table["file"].to_numpy()
    arrays, trainings = {"slices": images}, []
    for number, each in enumerate(published_gans.list_trainings(plan)):
        if each["kind"] not in kinds:
            continue
        rows = np.flatnonzero(np.isin(names, each["files"]) & (labels == each["label"]))
        steps = each["kept"][-1]
        order = [batch_of(step, len(rows), 16, each["seed"]) for step in range(steps)]
        arrays[f"order-{number}"] = np.array(order, np.uint8)
        arrays[f"latent-{number}"] = sampling.draw_latent(ADDED * len(rows), each["latent_seed"])
        own = {name: each[name] for name in ("folder", "kind", "recipe", "seed", "kept", "label")}
        own |= {"number": number, "rows": rows.tolist()}
        trainings.append(own | {"trained_on": machine.fingerprint(images[rows])})
    if any(k % STRETCH for each in trainings for k in each["kept"]):
        raise CourseError(f"a length is no multiple of {STRETCH} steps.")
    out.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "commit": commit(), "stretch": STRETCH, "most_drawn": MOST_DRAWN, "trainings": trainings,
        "start": {}, "checks": {},
    }  # fmt: skip
    for recipe in dict.fromkeys(each["recipe"] for each in trainings):
        variables = content["start"][recipe] = describe_start(recipe)
        each = next(each for each in trainings if each["recipe"] == recipe)
        losses = first_losses(recipe, variables, each, images[each["rows"]])
        content["checks"][recipe] = {"training": each, "losses": losses}
        export_programs(recipe, out)
        print(f"{recipe}: packed", flush=True)
    np.savez_compressed(out / "arrays.npz", **arrays)
    files.write_json(out / "plan.json", content)


def unpack(drawn: Path, gans: Path) -> None:
    """Put what was drawn where `published.py` looks for generators."""
    plan = published_gans.list_trainings(files.read_json(FOLDS_FILE))
    trainings = {each["folder"]: each for each in plan}
    facts = json.loads((drawn / "facts.json").read_text())
    where = {"precision": "float32+xla", "device": f"{facts['device']}, by JAX {facts['jax']}"}
    for path in sorted(drawn.glob("images-*.npz")):
        with np.load(path) as saved:
            for folder in sorted({name.split(":")[0] for name in saved.files}):
                each, to = trainings[folder], files.make_folder(gans / folder)
                for steps in each["kept"]:
                    with files.atomic_write(to / f"drawn-{steps}.npy") as temporary:
                        np.save(temporary, saved[f"{folder}:drawn-{steps}"].astype(np.float32))
                own = {name: each[name] for name in ("recipe", "label", "seed")}
                own["trained_on"] = facts["trained_on"][folder]
                own |= {"seconds": float(saved[f"{folder}:seconds"]), "commit": facts["commit"]}
                files.write_json(to / "done.json", own | where)
                print(f"{folder}: here", flush=True)


@command
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="what", required=True)
    there = parts.add_parser("pack")
    there.add_argument("--data", type=Path, required=True, help="folder of the real set")
    there.add_argument("--out", type=Path, required=True)
    there.add_argument("--kinds", nargs="+", default=["paper", "quarter", "brief"])
    back = parts.add_parser("unpack")
    back.add_argument("drawn", type=Path)
    back.add_argument("--gans", type=Path, required=True)
    asked = parser.parse_args(arguments)
    if asked.what == "pack":
        pack(asked.data, asked.out, asked.kinds)
    else:
        unpack(asked.drawn, asked.gans)


if __name__ == "__main__":
    sys.exit(main())
