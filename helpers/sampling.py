"""Find and load saved generators safely, draw images, and write them as a data set."""

import hashlib
import math
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from PIL import Image

from helpers import files, machine, networks, preprocessing
from helpers.files import CourseError

PRETRAINED = files.PROJECT / "data" / "pretrained"
# What a model file may hold beside its numbers. An attribute's texts can all be the same long one,
# so both together bound the memory.
MOST_NAMES_PER_ATTRIBUTE = 200
MOST_OTHER_BYTES = 1_000_000


def find_generators(
    out: Path, prepared: preprocessing.Prepared, classes: dict[str, int]
) -> dict[str, Path]:
    """Each class's generator file: notebook 03's, or the bundled one if 03 has not run.

    The bundled generators are used only with the images that they were trained on, the simulated
    slices of the quick profile. What is known about them goes into `metrics.json`, as notebook 03
    would have written it.

    Args:
        out: Folder of the run.
        prepared: Its images and their split.
        classes: Label by name.

    Raises:
        CourseError: A bundled file is not the one that `generators.json` names.
    """
    paths, bundled = {}, {}
    cards = files.read_json(PRETRAINED / "generators.json").get("generators", {})
    for name, label in classes.items():
        path, card = out / "models" / f"{name}.h5", cards.get(name, {"trained_on": None})
        trained_on = machine.fingerprint(prepared.part("train", label)[0])
        if not path.exists() and card["trained_on"] == trained_on:
            path, bundled[name] = PRETRAINED / path.name, card
            if path.exists():
                _require_sha256(path, card["sha256"])
        paths[name] = path
    if bundled:
        print("Notebook 03 has not run: these generators come with the course.")
        recorded = files.read_json(out / "metrics.json").get("gan", {})
        files.record(out, gan=recorded | bundled)
    return paths


def open_generators(
    out: Path, prepared: preprocessing.Prepared, classes: dict[str, int]
) -> dict[str, keras.Model]:
    """Load the generators of `find_generators`; errors as there and in `load_generator`."""
    found = find_generators(out, prepared, classes)
    return {name: load_generator(path) for name, path in found.items()}


def load_pair(images: np.ndarray) -> tuple[keras.Model, keras.Model]:
    """The generator of haemorrhages that comes with the course, and a discriminator for it.

    A training can begin from these two (notebook 03), but only with the images that both know.

    Args:
        images: ``(n, 32, 32, 1)``, on which they are to be trained.

    Raises:
        CourseError: Other images, or a file that is not the one that its card names.
    """
    generators = files.read_json(PRETRAINED / "generators.json").get("generators", {})
    cards = generators.get("haemorrhage", {}), files.read_json(PRETRAINED / "discriminator.json")
    if {card.get("trained_on") for card in cards} != {machine.fingerprint(images)}:
        raise CourseError(
            "the networks that come with the course were trained on other images: train your own."
        )
    paths = PRETRAINED / "haemorrhage.h5", PRETRAINED / "discriminator.h5"
    for path, card in zip(paths, cards, strict=True):
        _require_sha256(path, card["sha256"])
    discriminator = networks.build_discriminator()
    discriminator.load_weights(paths[1])
    return load_generator(paths[0]), discriminator


def _require_sha256(path: Path, expected: str) -> None:
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != expected:
        raise CourseError(f"{path} has another SHA-256 than its card says: get both files again.")


def load_generator(path: Path) -> keras.Model:
    """Build the generator from code and load only numbers from the file: nothing in it is run.

    What the file holds is checked first (`refuse_unsafe`), so it can't fill the memory either.

    Raises:
        CourseError: The file is missing, damaged, or holds another network or weights that are not
            finite.
    """
    files.require_file(Path(path), "03_training")
    generator = networks.build_generator()
    try:
        # Adam, if it was saved too, keeps two numbers for each weight.
        refuse_unsafe(path, 4 * generator.count_params())
        generator.load_weights(path)
    except Exception as error:  # Keras and h5py raise whatever they stumble over
        reason = str(error) if isinstance(error, UnsafeFile) else type(error).__name__
        raise CourseError(
            f"{path} does not hold this course's generator ({reason}): train it again with "
            "notebooks/03_training.ipynb."
        ) from None
    if not all(np.isfinite(weights).all() for weights in generator.get_weights()):
        raise CourseError(f"{path} holds weights that are not finite: train it again.")
    return generator


class UnsafeFile(Exception):
    """A model file that holds more than a network's numbers and names."""


def refuse_unsafe(path: Path, most: int) -> None:
    """Look through an HDF5 file before anything in it is loaded.

    HDF5 can name other files whose bytes it then reads as its own, and a small file can hold
    arrays of any size.

    Args:
        path: The file.
        most: Numbers that it may hold in all.

    Raises:
        UnsafeFile: It holds more, a link, data in other files, no plain numbers, or long texts.
        OSError: It is no HDF5.
    """
    numbers, stored, seen = 0, 0, set()
    with h5py.File(path) as file:
        groups = [file]
        while groups:
            group = groups.pop()
            for name in group.attrs:  # the names of layers and weights
                if math.prod(group.attrs.get_id(name).shape) > MOST_NAMES_PER_ATTRIBUTE:
                    raise UnsafeFile(f"its attribute {name} is too long")
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise UnsafeFile(f"{name} is a link")
                item = group[name]
                if isinstance(item, h5py.Group):
                    if item.id not in seen:  # groups may contain each other
                        seen.add(item.id)
                        groups.append(item)
                elif not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
                    raise UnsafeFile(f"{name} is no array of numbers")
                elif item.external or item.is_virtual:
                    raise UnsafeFile(f"{name} is in another file")
                else:
                    numbers += item.size or 0
                    stored += item.id.get_storage_size()
    if numbers > most:
        raise UnsafeFile(f"{numbers:,} numbers instead of at most {most:,}")
    if Path(path).stat().st_size - stored > MOST_OTHER_BYTES:
        raise UnsafeFile("more texts than a network has")


def draw_latent(
    count: int, seed: int, latent_dim: int = networks.LATENT_DIM, truncation: float | None = None
) -> np.ndarray:
    """Standard normal latent vectors.

    Args:
        count: How many.
        seed: The same seed gives the same vectors.
        latent_dim: Length of each.
        truncation: Numbers further from 0 than this are drawn again, 0.1 or more: nearer to the
            middle images are more typical and more alike (Brock et al. 2019, arXiv:1809.11096).

    Returns:
        ``(count, latent_dim)``, ``float32``.

    Raises:
        CourseError: A truncation under 0.1.
    """
    if truncation is not None and not truncation >= 0.1:
        raise CourseError(f"truncation {truncation} is too small: use 0.1 or more.")
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((count, latent_dim))
    while truncation and (far := np.abs(latent) > truncation).any():
        latent[far] = rng.standard_normal(far.sum())
    return latent.astype(np.float32)


def walk(first: np.ndarray, second: np.ndarray, steps: int) -> np.ndarray:
    """From one latent vector to another, as far from 0 on the way as latent vectors are.

    A straight line would pass nearer to 0, where no vector was in training.

    Args:
        first, second: ``(latent_dim,)``, not in opposite directions.
        steps: How many vectors, both ends counted.

    Returns:
        ``(steps, latent_dim)``, ``float32``.

    Source: White 2016, arXiv:1609.04468.
    """
    share = np.linspace(0, 1, steps)[:, None]
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    angle = max(np.arccos(np.clip(cosine, -1, 1)), 1e-6)
    path = np.sin((1 - share) * angle) * first + np.sin(share * angle) * second
    return (path / np.sin(angle)).astype(np.float32)


def neighbours(latent: np.ndarray, count: int, spread: float, seed: int) -> np.ndarray:
    """Latent vectors near one: standard normal again, and correlated with it.

    Args:
        latent: ``(latent_dim,)``.
        count: How many.
        spread: 0 the vector itself, 1 any other.
        seed: Of the other ones.

    Returns:
        ``(count, latent_dim)``, ``float32``.

    Raises:
        CourseError: A spread that is no share.
    """
    if not 0 <= spread <= 1:
        raise CourseError(f"spread {spread} is no share: use a number from 0 to 1.")
    rng = np.random.default_rng([seed, 1])  # not draw_latent's, which may have drawn this vector
    others = rng.standard_normal((count, len(latent)))
    return (np.sqrt(1 - spread**2) * latent + spread * others).astype(np.float32)


def generate(generator: keras.Model, latent: np.ndarray) -> np.ndarray:
    """Run the generator with BatchNorm's moving averages, so an image depends on its vector alone.

    Returns:
        ``(count, 32, 32, 1)``, -1 to 1.
    """
    return generator.predict(latent, batch_size=50, verbose=0)


def write_samples(
    folder: Path, images: np.ndarray, labels: np.ndarray, manifest: dict[str, Any]
) -> None:
    """Write images as numbered PNG with a `labels.csv`: `folder.read_folder` reads it back.

    The folder appears whole or not at all; one of an earlier run is replaced.

    Args:
        folder: Where to.
        images: ``(n, 32, 32, 1)``, -1 to 1.
        labels: ``(n,)``, 0 or 1.
        manifest: Where they come from (model, latent seed, filter): `manifest.json`.
    """
    with files.atomic_folder(folder) as made:
        for i, image in enumerate(preprocessing.to_grey_levels(images[..., 0])):
            Image.fromarray(image).save(made / f"{i:03d}.png")
        lines = ["id,label", *(f"{i},{label}" for i, label in enumerate(labels))]
        (made / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        files.write_json(made / "manifest.json", manifest)
