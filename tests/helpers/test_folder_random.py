"""Folders put together at random are read exactly, or refused; none is read wrongly."""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.files import CourseError
from helpers.folder import read_folder

pytest.importorskip("hypothesis", reason="random folders need hypothesis, of the extra `dev`")

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

COUNT = 14
NAMES = {
    "numbers": lambda i: f"{i}",
    "zeros": lambda i: f"{i:03}",
    "letters": lambda i: f"img{i:02}",
    "spaces": lambda i: f"scan no {i}",
    "umlaut": lambda i: f"Aufnahme_ü{i}",
    "points": lambda i: f"1.2.840.{i}",
    "elsewhere": lambda i: f"{(i * 5 + 3) % COUNT:02}",
}
IDS = {
    "path": lambda path: path,
    "name": lambda path: path.rsplit("/", 1)[-1],
    "stem": lambda path: path.rsplit("/", 1)[-1].rsplit(".", 1)[0],
    "dot": lambda path: f"./{path}",
    "windows": lambda path: "C:\\Users\\me\\data\\" + path.replace("/", "\\"),
    "colab": lambda path: f"/content/drive/MyDrive/{path}",
    "upper": lambda path: path.rsplit("/", 1)[-1].upper(),
    "other ending": lambda path: path.rsplit(".", 1)[0] + ".dcm",
    "float": lambda path: path.rsplit("/", 1)[-1].rsplit(".", 1)[0].lstrip("0") + ".0",
}
# Words for 0 and 1, and what has to be given for them.
WORDS = {
    "digits": ("0", "1", ""),
    "floats": ("0.0", "1.0", ""),
    "yes": ("no", "yes", ""),
    "True": ("False", "True", ""),
    "named": ("benign", "malignant", "malignant"),
    "capital": ("Normal", "PNEUMONIA", "pneumonia"),
    "unnamed": ("benign", "malignant", ""),
}
EXTRA = {
    "index": ("", lambda i, k, rng: i),
    "pandas": ("Unnamed: 0", lambda i, k, rng: i),
    "row": ("row", lambda i, k, rng: i),
    "sex": ("sex", lambda i, k, rng: int(rng.integers(2))),
    "gender": ("gender", lambda i, k, rng: "MF"[rng.integers(2)]),
    "age": ("age", lambda i, k, rng: int(rng.integers(20, 90))),
    "note": ("note", lambda i, k, rng: "seen, and well" if i % 3 else 'he said "no"'),
    "grade": ("grade", lambda i, k, rng: int(rng.integers(4))),
    "hospital": ("site", lambda i, k, rng: int(rng.integers(COUNT))),
}
outcomes: list[bool] = []


@st.composite
def folders(draw):
    return {
        "name": draw(st.sampled_from(sorted(NAMES))),
        "ending": draw(st.sampled_from(["png", "jpg", "bmp", "tif"])),
        "layout": draw(st.sampled_from(["flat", "images", "class", "part", "patient"])),
        "id": draw(st.sampled_from(sorted(IDS))),
        "words": draw(st.sampled_from(sorted(WORDS))),
        "head": draw(st.sampled_from(["file", "filename", "Image Index", "id", "path", "x"])),
        "label": draw(
            st.sampled_from(["label", " Label", "class", "malignant", "finding", "Diagnosis", "y"])
        ),
        "patient": draw(
            st.sampled_from(["", "patient", "Patient ID", "subject_no", "PID", "Case-ID"])
        ),
        "unknown": draw(st.sampled_from(["", "nan", "NA", "unknown", "-"])),
        "extra": draw(st.lists(st.sampled_from(sorted(EXTRA)), max_size=3, unique=True)),
        "separator": draw(st.sampled_from([",", ";", "\t", "|"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])),
        "newline": draw(st.sampled_from(["\n", "\r\n"])),
        "sep line": draw(st.booleans()),
        "header": draw(st.sampled_from([True, True, True, True, False])),
        "listing": draw(st.sampled_from(["labels.csv", "Labels.CSV", "metadata.csv", "in/l.csv"])),
        "seed": draw(st.integers(0, 10**6)),
    }


@settings(
    max_examples=300, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(folders())
def test_read_exactly_or_refused(asked):
    with tempfile.TemporaryDirectory() as made:
        labels, people = write(Path(made), asked)
        positive = WORDS[asked["words"]][2]
        try:
            slices = read_folder(made, positive=positive)
        except CourseError as error:
            assert "\n" not in str(error)
            outcomes.append(False)
            event("refused")
            return
    outcomes.append(True)
    event("read")
    table = slices.table.set_index("file")
    assert table["label"].to_dict() == labels
    if asked["patient"]:
        found = {file: keys[0][1] if keys else file for file, keys in table["keys"].items()}
        parted = [(a, b) for a in labels for b in labels if (people[a] == people[b]) != (
            found[a] == found[b])]  # fmt: skip
        assert not parted


def test_most_of_them_were_read():
    if len(outcomes) < 300:
        pytest.skip("the folders are made by the test before")
    assert sum(outcomes) > 100


def write(folder: Path, asked: dict) -> tuple[dict[str, int], dict[str, str]]:
    """Write such a folder; each file's label, and whose it is."""
    rng = np.random.default_rng(asked["seed"])
    labels = rng.permutation(np.arange(COUNT) % 2).tolist()
    low, high, _ = WORDS[asked["words"]]
    truth, people, rows = {}, {}, []
    for i, label in enumerate(labels):
        above = {
            "flat": "", "images": "images/", "class": f"{'ab'[label]}/",
            "part": f"{('train', 'test')[i % 2]}/", "patient": f"P{i // 2}/",
        }[asked["layout"]]  # fmt: skip
        path = f"{above}{NAMES[asked['name']](i)}.{asked['ending']}"
        (folder / path).parent.mkdir(exist_ok=True)
        grey = rng.integers(0, 256, (6, 7), dtype=np.uint8)
        Image.fromarray(grey).save(folder / path)
        truth[path] = label
        known = rng.random() < 0.7
        people[path] = f"p{i // 2}" if known or not asked["unknown"] else path
        row = {asked["head"]: IDS[asked["id"]](path), asked["label"]: (low, high)[label]}
        if asked["patient"]:
            row[asked["patient"]] = people[path] if people[path] != path else asked["unknown"]
        for name in asked["extra"]:
            head, make = EXTRA[name]
            row[head] = make(i, label, rng)
        rows.append(row)
    order = rng.permutation([*rows[0]]).tolist()
    rows = [rows[i] for i in rng.permutation(COUNT)]
    for number, row in enumerate(rows):  # an index counts the lines, whatever the files are called
        for name in ("", "Unnamed: 0", "row"):
            if name in row:
                row[name] = number
    text = io.StringIO()
    if asked["sep line"]:
        text.write(f"sep={asked['separator']}{asked['newline']}")
    writer = csv.writer(text, delimiter=asked["separator"], lineterminator=asked["newline"])
    writer.writerows([order] * asked["header"] + [[row[name] for name in order] for row in rows])
    listing = folder / asked["listing"]
    listing.parent.mkdir(exist_ok=True)
    listing.write_bytes(text.getvalue().encode(asked["encoding"]))
    return truth, people
