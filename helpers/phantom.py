"""Simulated axial head CT slices, with and without a bleed, drawn from a seed.

They are used where real slices may not be shipped and where truth must be known without limit; they
say nothing about patients. Lengths: 0 the middle of the head, 1 its edge. Densities: Hounsfield
units (HU, water 0), as on CT. A level is the height of a slice, 0 (cisterns) to 1 (vertex).
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from helpers import files
from helpers.files import CourseError

BLEEDS = ("intraparenchymal", "epidural", "subdural", "subarachnoid", "intraventricular")
SHARES = 0.4, 0.15, 0.15, 0.15, 0.15  # in the brain itself most often, as by eye in the real set
IVH_END = 0.78  # no ventricle to bleed into above this level
SERIES = 8  # slices of the one patient of whom a data set holds several
# HU. Air is -1000 and bone up to 1900: nearer values, black and white too, keep edges smooth.
AIR, FAT, CSF, SKIN, WHITE, GREY, CALCIUM, BONE = -150, -60, 6, 20, 30, 37, 140, 250
FRESH_BLOOD = 57, 78
# What is drawn as lines, left and right alike: from and to which level, both ends (x, y), half
# width at the first end. Set by eye, until the pictures looked like the real ones.
VENTRICLES = (
    (-0.1, 0.28, (0.00, 0.36), (0.00, 0.46), 0.080),  # fourth
    (0.10, 0.52, (0.00, -0.06), (0.00, 0.14), 0.028),  # third
    (0.14, 0.62, (0.16, -0.37), (0.07, -0.12), 0.070),  # frontal horns
    (0.14, 0.62, (0.29, 0.50), (0.20, 0.26), 0.065),  # trigones
    (0.48, 0.90, (0.10, -0.02), (0.14, -0.36), 0.070),  # bodies, forwards
    (0.48, 0.90, (0.10, -0.02), (0.25, 0.42), 0.070),  # bodies, backwards
)
CISTERNS = (
    (-0.1, 1.10, (0.00, -0.98), (0.00, -0.50), 0.026),  # between the hemispheres
    (-0.1, 0.55, (0.84, -0.22), (0.50, -0.10), 0.040),  # Sylvian fissures
    (-0.1, 0.25, (0.00, -0.10), (0.32, -0.24), 0.060),  # suprasellar star, front
    (-0.1, 0.25, (0.00, -0.04), (0.22, 0.14), 0.050),  # suprasellar star, back
)
NUCLEI = ((-0.1, 0.62, (0.27, -0.16), (0.27, 0.16), 0.20),)
PETROUS_RIDGES = ((-0.1, 0.14, (0.90, 0.36), (0.40, 0.12), 0.070),)
CALCIFICATIONS = (  # harmless; brighter than blood, smaller than a bleed
    (0.25, 0.62, (0.25, 0.36), (0.24, 0.38), 0.04),  # choroid plexus
    (0.15, 0.52, (0.00, 0.21), (0.00, 0.23), 0.04),  # pineal
)


@dataclass(frozen=True)
class Patient:
    """One person's anatomy, the same in all their slices; factors are relative to the average."""

    width: float  # of the skull, over its length
    outline: tuple[tuple[int, float, float], ...]  # harmonics: order, amplitude, phase
    thickness: float  # of the skull
    ventricles: float  # factor, their width
    atrophy: float  # 0 to 1, how wide sulci and cisterns are
    calcifications: tuple  # which of `CALCIFICATIONS`
    folds: int  # seed of this brain's own folds and bends


@dataclass(frozen=True)
class _Head:
    """Where each pixel is in the head: arrays (size, size)."""

    x: np.ndarray  # to the right of the picture
    y: np.ndarray  # to the back of the head
    depth: np.ndarray  # 1 at the inner edge of the skull
    outside: np.ndarray  # 1 at its outer edge
    soft: float  # width of an edge


def random_patient(rng: Generator) -> Patient:
    """Draw one person's anatomy; it never depends on whether they bleed."""
    return Patient(
        width=rng.uniform(0.76, 0.88),
        outline=tuple((k, rng.normal(0, 0.02 / k), rng.uniform(-3.14, 3.14)) for k in range(2, 6)),
        thickness=rng.uniform(0.07, 0.10),
        ventricles=rng.uniform(0.7, 1.3),
        atrophy=rng.beta(1.5, 2.5),
        calcifications=tuple(spot for spot in CALCIFICATIONS if rng.random() < 0.35),
        folds=int(rng.integers(2**31)),
    )


def draw_slice(
    patient: Patient,
    rng: Generator,
    *,
    bleed: str | None = None,
    level: float | None = None,
    size: int = 128,
) -> np.ndarray:
    """Draw one slice of a patient in a brain window.

    At a given level, an equally seeded `rng` gives the same slice with and without a bleed, except
    the bleed and the brain that it pushes aside: position, window, noise and letters are equal.

    Args:
        rng: Decides what differs between two slices of one patient.
        bleed: One of `BLEEDS`, or None.
        level: 0 to 1, `IVH_END` at most for an intraventricular bleed; drawn where None.
        size: Height and width, pixels.

    Returns:
        ``(size, size)``, ``uint8``, 0 to 255.

    Raises:
        ValueError: Another bleed.
    """
    if bleed not in (None, *BLEEDS):
        raise ValueError(f"bleed is {bleed!r}; use None or one of {', '.join(BLEEDS)}")
    lesion_rng = default_rng(rng.integers(2**63))  # its draws shift nobody else's
    drawn = rng.random()
    level = min(drawn if level is None else level, IVH_END if bleed == "intraventricular" else 1)

    head = _place_head(patient, rng, level, size)
    clot, push = _haematoma(bleed, head, lesion_rng)
    # No brain is symmetric, and a clot pushes its middle aside; at the skull it stays put.
    own, give = default_rng(patient.folds), (1 - head.depth**2).clip(0, 1)
    x, y = (0.03 * _smooth_field(own, 6, size) for _ in range(2))
    brain = replace(head, x=head.x + (push + x) * give, y=head.y + y * give)
    ventricles = _lines(brain, VENTRICLES, level, patient.ventricles)
    cisterns = _lines(brain, CISTERNS, level, 0.6 + 0.8 * patient.atrophy)
    sulci = _sulci(patient, brain, level)
    if bleed == "subarachnoid":  # thins out away from the vessel that burst
        angle, reach = lesion_rng.uniform(-math.pi, math.pi), lesion_rng.uniform(0.8, 1.4)
        thinning = (reach + brain.x * math.cos(angle) + brain.y * math.sin(angle)).clip(0, 1)
        clot = thinning * np.maximum(cisterns, (3 * sulci).clip(0, 1))
    elif bleed == "intraventricular":  # sinks to the back of someone lying on their back
        swollen = _lines(brain, VENTRICLES, level, 1.3 * patient.ventricles)
        clot = swollen * _inside(brain.y - lesion_rng.uniform(-0.5, -0.1), 0.1)

    ragged = 0.06 * _smooth_field(default_rng(patient.folds + 2), 9, size)
    white = _inside(0.78 - head.depth - ragged, 0.2) * (1 - _lines(brain, NUCLEI, level))
    density = GREY + white * (WHITE - GREY)
    density = _paint(density, np.maximum(np.maximum(ventricles, cisterns), 0.7 * sulci), CSF)
    if bleed:
        blood = lesion_rng.uniform(*FRESH_BLOOD) + 4 * _smooth_field(lesion_rng, 10, size)
        density = _paint(density, clot * (head.depth < 1), blood)
    density = _paint(density, _lines(brain, patient.calcifications, level), CALCIUM)
    density = _paint(density, _lines(head, PETROUS_RIDGES, level), BONE)
    density = _paint(density, _inside(head.depth - 1, head.soft), BONE)
    for edge, tissue in ((1.0, FAT), (1.05, SKIN), (1.085, AIR)):
        density = _paint(density, _inside(head.outside - edge, head.soft), tissue)
    return _scan(rng, head, density)


def draw_slices(
    n: int, seed: int, *, size: int = 128, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw slices of `n` people.

    Slice i depends on ``(seed, i)`` and its label only: a longer stream begins with the shorter
    one, and the same seed with all labels 0 shows the same people without their bleeds.

    Args:
        n: How many, at least 1.
        seed: Of the stream.
        size: Height and width, pixels.
        labels: ``(n,)``, 1 haemorrhage, 0 clear; where None 0, 1, 0, 1 and so on.

    Returns:
        Images ``(n, size, size)``, ``uint8``, 0 to 255, and labels ``(n,)``, integers.
    """
    labels = np.arange(n) % 2 if labels is None else np.asarray(labels, int)
    seeds = [SeedSequence(seed, spawn_key=(0, i)) for i in range(n)]
    pairs = zip(seeds, labels, strict=True)
    return np.stack([new_patients_slice(s, label, size) for s, label in pairs]), labels


def write_dataset(folder: str | Path, *, n: int = 200, seed: int = 0) -> Path:
    """Write a simulated data set in the layout, and with the faults, of Kaggle's head CT set.

    The faults are there to be found: mixed sizes and modes, tints, letters, three look-alike pairs,
    one patient's whole series. ``groups.csv`` (`file,group`) tells the truth about the last two.

    Args:
        folder: Written whole or not at all, and returned. Where it holds this very set it stays,
            and a set of another seed is replaced.
        n: Images, even, at least 24 (else a `ValueError`); the first half haemorrhage.
        seed: The same one writes the same pixels.

    Raises:
        CourseError: Something else is in the folder, or it cannot be written.
    """
    folder = Path(folder)
    card = folder / "simulated.txt"
    told = f"{n} simulated slices, seed {seed}, drawn by helpers.phantom: nobody's head.\n"
    if card.exists() and card.read_text(encoding="utf-8") == told:
        return folder
    found = {path.name for path in folder.glob("[!.]*")} if folder.is_dir() else set()
    own = {"head_ct", "labels.csv", "groups.csv", card.name}
    if folder.is_file() or (found and not card.exists()) or found - own:
        raise CourseError(f"{folder} holds something else than a simulated set: move it away.")
    if n % 2 or n < 24:
        raise ValueError(f"n is {n}; use an even number of at least 24 images")
    with files.atomic_folder(folder) as unfinished:
        _write_files(unfinished, n, seed)
        (unfinished / card.name).write_text(told, encoding="utf-8")
    return folder


def new_patients_slice(seed: SeedSequence, bleeds: int, size: int) -> np.ndarray:
    """Draw one slice, ``(size, size)``, of a new patient, with or without a bleed.

    Patient and level are drawn before the kind of bleed, so that both classes have them alike.
    """
    rng = default_rng(seed)
    patient, level = random_patient(rng), rng.random()
    kind = BLEEDS[rng.choice(len(BLEEDS), p=SHARES)]
    if kind == "intraventricular" and level > IVH_END:
        kind = BLEEDS[0]
    return draw_slice(patient, rng, bleed=kind if bleeds else None, level=level, size=size)


def _place_head(patient: Patient, rng: Generator, level: float, size: int) -> _Head:
    """Tilt, shift and zoom the head; towards the vertex it is smaller, its skull thicker."""
    vertex = max(0.0, (level - 0.75) / 0.25) ** 2
    length = rng.uniform(0.86, 0.95) * (1 - 0.12 * vertex)
    tilt, across, down = rng.normal(0, (0.06, 0.02, 0.02)).tolist()
    pixels = np.linspace(1 / size - 1, 1 - 1 / size, size, dtype=np.float32)
    x, y = pixels[None] - across, pixels[:, None] - down
    c, s = math.cos(tilt) / length, math.sin(tilt) / length
    x, y = (c * x + s * y) / (patient.width * (1 + 0.08 * vertex)), c * y - s * x
    angle, outside = np.arctan2(y, x), np.hypot(x, y)
    outside /= 1 + sum(a * np.cos(order * angle + phase) for order, a, phase in patient.outline)
    crest = np.exp(-((x / 0.15) ** 2)) * (y > 0)  # the inner bump at the back of the head
    thickness = patient.thickness * (1 + 0.8 * vertex + 0.2 * y**2 + 0.4 * crest)
    return _Head(x, y, outside / (1 - thickness.clip(0, 0.3)), outside, soft=2.5 / size)


def _inside(distance: np.ndarray, soft: float) -> np.ndarray:
    """1 where positive, 0 where negative, a ramp of width `soft` between."""
    return (distance / soft + 0.5).clip(0, 1)


def _paint(density: np.ndarray, mask: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    return density + mask * (value - density)


def _smooth_field(rng: Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise, unit spread or so, `cells` bumps across."""
    coarse = Image.fromarray(rng.normal(0, 1.4, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _lines(head: _Head, lines: tuple, level: float, factor: float = 1) -> np.ndarray:
    """Mask of those lines that this level cuts, drawn as clubs that taper to the second end."""
    mask, mirrored = np.zeros_like(head.x), np.abs(head.x)
    for first, last, (ax, ay), (bx, by), half_width in lines:
        grown = min(1.0, (level - first) / 0.08, (last - level) / 0.08)
        if grown > 0:
            dx, dy, x, y = bx - ax, by - ay, mirrored - ax, head.y - ay
            along = ((x * dx + y * dy) / (dx * dx + dy * dy)).clip(0, 1)
            distance = np.hypot(x - along * dx, y - along * dy)
            radius = half_width * factor * math.sqrt(grown) * (1 - 0.4 * along)
            mask = np.maximum(mask, _inside(radius - distance, head.soft))
    return mask


def _sulci(patient: Patient, head: _Head, level: float) -> np.ndarray:
    """Zero crossings of a smooth field, which turns into another one as the level rises."""
    rng, turn = default_rng(patient.folds + 1), 3 * level
    one, other = (_smooth_field(rng, 15, len(head.x)) for _ in range(2))
    field = np.abs(math.cos(turn) * one + math.sin(turn) * other)
    rim = 0.84 - 0.08 * patient.atrophy - 0.5 * max(0.0, level - 0.7)
    cortex = _inside(head.depth - rim, 0.1) * _inside(0.985 - head.depth, head.soft)
    return cortex * (1.4 - field / (0.12 + 0.35 * patient.atrophy)).clip(0, 1)


def _haematoma(bleed: str | None, head: _Head, rng: Generator) -> tuple[np.ndarray, float]:
    """The three kinds that take room: where, and how far they push the midline."""
    side = 1 if rng.random() < 0.5 else -1
    if bleed == "intraparenchymal":
        x, y = side * rng.uniform(0.2, 0.5), rng.uniform(-0.45, 0.45)
        size, stretch = rng.uniform(0.17, 0.34), rng.uniform(0.75, 1.3)
        distance = np.hypot((head.x - x) * stretch, (head.y - y) / stretch) / size
        ragged = 0.2 * _smooth_field(rng, 12, len(head.x))
        return _inside(1 - distance - ragged, head.soft / size), side * 0.25 * size
    if bleed in ("epidural", "subdural"):  # a short thick lens, a long thin crescent
        lens = bleed == "epidural"
        size = rng.uniform(0.2, 0.34) if lens else rng.uniform(0.12, 0.22)
        reach = rng.uniform(0.45, 0.65) if lens else rng.uniform(0.8, 1.3)
        angle = (np.arctan2(head.y, side * head.x) - rng.uniform(-0.7, 0.7)) / reach
        thick = size * (1 - angle**2).clip(0, 1) ** (1.0 if lens else 0.5)
        return _inside(head.depth - 1 + thick, head.soft) * (thick > 0), side * 0.25 * size
    return np.zeros_like(head.x), 0.0


def _scan(rng: Generator, head: _Head, density: np.ndarray) -> np.ndarray:
    """Head rest, noise, window, blur, burned-in letters: from HU to grey levels."""
    size, scale = len(density), len(density) / 128
    if rng.random() < 0.3:
        rest = 0.02 - np.abs(np.hypot(head.x, head.y + 0.1) - 1.25)
        density = _paint(density, _inside(rest, head.soft) * (head.y > 0.6), 60)
    white = rng.standard_normal((size, size), np.float32)
    grainy = (white + np.roll(white, 1, 0) + np.roll(white, 1, 1)) / math.sqrt(3)  # as CT noise is
    density = density + rng.uniform(2, 5) * scale * grainy  # half the pixel, a quarter the photons
    middle, width = rng.uniform(33, 42), rng.uniform(75, 112)
    grey = np.uint8(255 * ((density - middle) / width + 0.5).clip(0, 1))
    image = Image.fromarray(grey).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8) * scale))
    if rng.random() < 0.35:
        place = rng.uniform(2, 10) * scale, rng.choice((2, 112)) * scale
        font = ImageFont.load_default(rng.uniform(9, 14) * scale)
        ImageDraw.Draw(image).text(place, "ABabD"[rng.integers(5)], fill=230, font=font)
    return np.asarray(image)


def _write_files(folder: Path, n: int, seed: int) -> None:
    """Write images, labels and groups, faults included."""
    rng = default_rng(SeedSequence(seed, spawn_key=(2,)))
    half, series, sizes = n // 2, np.arange(n - SERIES, n), rng.integers(140, 261, n)
    seeds = (SeedSequence(seed, spawn_key=(1, i)) for i in range(n))
    slices = [new_patients_slice(s, i < half, sizes[i]) for i, s in enumerate(seeds)]
    patient = random_patient(rng)
    for i, level in zip(series, np.linspace(0.04, 0.96, SERIES), strict=True):
        slices[i] = draw_slice(patient, rng, level=level, size=sizes[i])
    sides = (sizes * rng.uniform(0, 0.1, n)).astype(int).tolist()
    cuts = zip(slices, sides, strict=True)
    pictures = [ImageOps.crop(Image.fromarray(s), (side, side // 8)) for s, side in cuts]
    same = rng.permutation(half)[:2]
    near, dim = half + rng.permutation(half - SERIES)[:4].reshape(2, 2)
    pictures[near[1]] = ImageOps.scale(ImageOps.crop(pictures[near[0]], 1), 1.2)
    pictures[dim[1]] = ImageOps.scale(pictures[dim[0]], 0.8).point(lambda grey: 0.8 * grey)
    names = [f"head_ct/head_ct/{i:03d}.png" for i in range(n)]
    (folder / names[0]).parent.mkdir(parents=True)
    for name, picture in zip(names, pictures, strict=True):
        if rng.random() < 0.05:
            picture = ImageOps.colorize(picture, "black", (219, 242, 255))  # a bluish screenshot
        picture.convert("RGBA" if rng.random() < 0.06 else "RGB").save(folder / name)
    (folder / names[same[1]]).write_bytes((folder / names[same[0]]).read_bytes())
    rows = [f"{i},{int(i < half)}\n" for i in range(n)]
    (folder / "labels.csv").write_text(
        "id, hemorrhage\n" + "".join(rows), encoding="utf-8", newline="\n"
    )
    groups = {"same": same, "rescaled": near, "dimmed": dim, "series": series}
    rows = [f"{names[i]},{group}\n" for group, members in groups.items() for i in sorted(members)]
    (folder / "groups.csv").write_text(
        "file,group\n" + "".join(rows), encoding="utf-8", newline="\n"
    )
