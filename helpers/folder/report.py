"""What a folder was found to hold, as lines for people and as fields for programs."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from helpers import machine
from helpers.files import CourseError, atomic_write
from helpers.folder.hazards import find_hazards
from helpers.folder.inventory import ending
from helpers.folder.options import from_parameters
from helpers.folder.parts import choose_parts
from helpers.folder.patients import Grouping, find_groups
from helpers.folder.reading import read_folder
from helpers.folder.slices import Slices
from helpers.preprocessing import PARTS, pad_to_square, shrink

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # has most alphabets
MARK = {"Software": "python -m course check --sheet"}  # in the PNG files that it may overwrite
LONGEST = 18  # letters of a file's name under its picture


@dataclass(frozen=True)
class Examined:
    """A folder read, grouped and split; `refused` says why it cannot be split, if it cannot."""

    slices: Slices
    grouping: Grouping
    part: np.ndarray  # (n,), "" where it cannot be split
    refused: str
    warnings: list[dict[str, str]]

    @property
    def fingerprint_with_groups(self) -> str:
        """One hash of names, labels, pixels and groups; `Slices.fingerprint` has no groups."""
        groups = self.grouping.groups.tobytes()
        return machine.digest(self.slices.fingerprint.encode(), groups)


def examine(
    folder: str | Path, seed: int, parameters: dict[str, Any], strict: bool = True
) -> Examined:
    """Read, group and split a folder as notebook 01 will, so that it is refused before any run.

    Args:
        folder: As in `read_folder`, whose options may be in `parameters`.
        seed: Of the split.
        parameters: Of notebook 01.
        strict: Whether a folder that cannot be split is refused.

    Raises:
        CourseError: As `read_folder`, `find_groups` and, if `strict`, `choose_parts`.
    """
    slices = read_folder(folder, **vars(from_parameters(parameters)))
    grouping = find_groups(slices)
    part, refused = np.full(len(slices.table), ""), ""
    try:
        part = choose_parts(slices, grouping.groups, seed)
    except CourseError as error:
        if strict:
            raise
        refused = str(error)
    return describe(slices, grouping, part, refused)


def describe(slices: Slices, grouping: Grouping, part: np.ndarray, refused: str = "") -> Examined:
    """Add the warnings to what was read, grouped and split."""
    return Examined(slices, grouping, part, refused, find_hazards(slices, grouping, refused))


def lines(examined: Examined, split: bool = True) -> list[str]:
    """What was used and found, in lines that a run prints before it begins.

    Args:
        examined: The folder.
        split: Whether its split is told, and why there is none.
    """
    slices, grouping, part = examined.slices, examined.grouping, examined.part
    table, reading = slices.table, slices.reading
    columns = reading.columns
    text = []
    if reading.listing:
        cut = f"{reading.separator}-separated, {reading.encoding}"
        text.append(f"listing: {reading.listing} ({cut}); file column: {columns['file']}")
        text.append(f"label column: {columns['label']}")
    else:
        text.append("listing: none; the folders are the classes")
    counts = np.bincount(table["label"], minlength=2)
    negative, positive = slices.names
    text.append(f"classes: {positive} {counts[1]} (positive, label 1), {negative} {counts[0]}")
    listed = Counter(ending(name).lstrip(".") or "no ending" for name in table["file"])
    seen = ", ".join(
        f"{kind} {count} seen, {listed[kind]} listed, {count - listed[kind]} unlisted"
        for kind, count in sorted(slices.seen.items())
    )
    text.append(f"files: {seen}")
    if slices.window:
        text.append(_window_line(slices.window))
    text.append(_patients_line(table, columns["patient"], slices.reading.groups))
    text.append(_groups_line(grouping, len(table)))
    if columns["split"] and split:
        kept = "kept" if slices.given else "not kept; given_split: true keeps it"
        text.append(f"given split ({columns['split']}): {kept}")
    if examined.refused and split:
        text.append("parts: none; a warning says why")
    elif split:
        text += [
            f"{name}: {int(np.sum(part == name))} images ("
            + ", ".join(
                f"{slices.names[k]} {int(np.sum((part == name) & (table['label'] == k)))}"
                for k in (1, 0)
            )
            + f") in {len(np.unique(grouping.groups[part == name]))} groups"
            for name in PARTS
        ]
    if reading.listing and slices.unused:
        names = ", ".join(slices.unused[:3]) + (", …" if len(slices.unused) > 3 else "")
        text.append(f"note: images that are not used: {names}")
    text += [f"note: {note}" for note in reading.notes]
    why = examined.refused.rstrip(".")
    told = [found for found in examined.warnings if split or found["text"] != why]
    return text + [f"warning ({found['kind']}): {found['text']}" for found in told]


def _window_line(window: dict[str, float]) -> str:
    line = f"stored values: {window['low']:g} becomes black, {window['high']:g} white"
    if "beyond" in window:
        line += f" ({window['beyond']:.1%} of the pixels are brighter, up to "
        line += f"{window['brightest']:g}; window: [low, high] sets others)"
    return line


def _patients_line(table: pd.DataFrame, column: str | None, groups: str) -> str:
    if not column and groups:
        return f"patients: as {groups} groups them; any other image counts as one patient"
    if not column:
        return (
            "patients: no column and no pattern names them; each image counts as one patient, "
            "unless it is grouped"
        )
    known = table[table["keys"].map(len) > 0]
    count = known["patient"].nunique()
    unknown = len(table) - len(known)
    more = f", and {unknown} images of unknown patients" if unknown else ""
    return f"patients: {count} for {len(known)} images, by {column}{more}"


def _groups_line(grouping: Grouping, count: int) -> str:
    reasons = {
        "pair{s} of identical pixels": len(grouping.identical),
        "look-alike pair{s}": len(grouping.proposed),
        "more pair{s} of one picture saved again": len(grouping.copies),
        "picture{s} with copies by name": len(grouping.named),
        "group{s} known beforehand": len(set(map(tuple, grouping.known))),
    }
    why = ", ".join(
        f"{number} {what.format(s='s' if number > 1 else '')}"
        for what, number in reasons.items()
        if number
    )
    groups = len(np.unique(grouping.groups))
    return f"groups: {groups} for {count} images ({why or 'no two images belong together'})"


def fields(examined: Examined) -> dict[str, Any]:
    """The same for programs: images, groups, classes, columns, warnings, files, and more."""
    slices, table = examined.slices, examined.slices.table
    counts = np.bincount(table["label"], minlength=2)
    return {
        "images": len(table),
        "groups": len(np.unique(examined.grouping.groups)),
        "classes": {slices.names[k]: int(counts[k]) for k in (0, 1)},
        "columns": slices.reading.columns,
        "warnings": examined.warnings,
        "pairs": [[table["file"][i] for i in pair] for pair in examined.grouping.pairs],
        "files": [
            {"file": file, "label": int(label), "group": int(group), "part": str(part) or None}
            for file, label, group, part in zip(
                table["file"], table["label"], examined.grouping.groups, examined.part, strict=True
            )
        ],
        "positive": slices.names[1],
        "listing": slices.reading.listing or None,
        "separator": slices.reading.separator or None,
        "window": slices.window or None,
        "patients": int(table["patient"][table["patient"] != ""].nunique()),
        "unlisted": slices.unlisted,
        "notes": slices.reading.notes,
        "refused": examined.refused or None,
    }


def draw_sheet(examined: Examined, path: Path, columns: int = 10) -> None:
    """Draw some slices of each class as the networks will see them, and the look-alike pairs.

    Under each picture of a pair stands the end of its file's name.
    """
    slices, grouping = examined.slices, examined.grouping
    labels = slices.table["label"].to_numpy()
    rows: list[tuple[str, list[int], bool]] = []  # a title or none; images; with their names?
    for k in (1, 0):
        of_class = np.flatnonzero(labels == k)
        spread = np.unique(np.linspace(0, len(of_class) - 1, 2 * columns).round().astype(int))
        some = of_class[spread].tolist()
        title = f"{slices.names[k]}: {len(of_class)} images"
        rows += [
            (title if not i else "", some[i : i + columns], False) for i in (0, columns) if some[i:]
        ]
    pairs = grouping.pairs
    shown = pairs[: 3 * columns]
    more = "" if shown == pairs else f" (the first {len(shown)})"
    for i in range(0, len(shown), columns):
        title = f"{len(pairs)} pairs that look alike, one above the other{more}" if not i else ""
        rows += [(title, [a for a, _ in shown[i : i + columns]], True)]
        rows += [("", [b for _, b in shown[i : i + columns]], True)]
    tile, gap, line = 96, 4, 18
    titled, named = (ImageFont.truetype(FONT, size) for size in (12, 9))
    height = gap + sum(
        tile + gap + line * (bool(title) + with_names) for title, _, with_names in rows
    )
    sheet = Image.new("L", (columns * (tile + gap) + gap, height), 255)
    draw, down = ImageDraw.Draw(sheet), gap
    for title, members, with_names in rows:
        if title:
            draw.text((gap, down), title, fill=0, font=titled)
            down += line
        for place, i in enumerate(members):
            seen = Image.fromarray(shrink(pad_to_square(slices.greys[i]), 32))
            left = gap + place * (tile + gap)
            sheet.paste(seen.resize((tile, tile), 0), (left, down))
            if with_names:
                name = slices.table["file"][i]
                name = name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"
                draw.text((left, down + tile + 2), name, fill=0, font=named)
        down += tile + gap + line * with_names
    made = PngInfo()
    for name, text in MARK.items():
        made.add_text(name, text)
    with atomic_write(path) as temporary:
        sheet.save(temporary, pnginfo=made)


def is_sheet(path: Path) -> bool:
    """Whether `draw_sheet` made this file."""
    try:
        with Image.open(path) as image:
            return MARK.items() <= image.info.items()
    except Exception:  # Pillow raises whatever it stumbles over
        return False
