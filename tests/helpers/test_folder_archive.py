"""A zip file is read like the folder that was packed, or refused in one sentence."""

import shutil
import zipfile

import folders
import pytest

from helpers.files import CourseError
from helpers.folder import read_folder, unpack


def pack(path, entries):
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


def test_a_packed_folder_is_the_folder(tmp_path):
    folders.plain(tmp_path / "mine", 40)
    plain = read_folder(tmp_path / "mine")
    for root, base in (
        (tmp_path, "mine"),
        (tmp_path / "mine", "."),
    ):  # with and without a top folder
        path = shutil.make_archive(str(tmp_path / f"packed-{base.strip('.')}"), "zip", root, base)
        with zipfile.ZipFile(path, "a") as packed:
            packed.writestr("__MACOSX/mine/._000.png", b"resource fork")
            packed.writestr("mine/.DS_Store", b"view")
        again = read_folder(unpack(path, tmp_path / "out"))
        assert again.table["sha256"].tolist() == plain.table["sha256"].tolist()
        assert again.table["label"].tolist() == plain.table["label"].tolist()
        assert again.unlisted == 0


def test_it_is_unpacked_once_and_anew_when_it_changes(tmp_path):
    path = pack(tmp_path / "a.zip", {"x.txt": "one"})
    first = unpack(path, tmp_path / "out")
    (first / "mark").write_text("")
    assert unpack(path, tmp_path / "out") == first and (first / "mark").exists()
    pack(path, {"x.txt": "two"})
    assert (unpack(path, tmp_path / "out") / "x.txt").read_text() == "two"


def test_a_folder_stays_what_it_is(tmp_path):
    assert unpack(tmp_path, tmp_path / "out") == tmp_path
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\evil.png"]
)
def test_nothing_is_written_outside(tmp_path, name):
    path = pack(tmp_path / "a.zip", {"good.png": b"", name: b"x"})
    with pytest.raises(CourseError, match="outside its folder"):
        unpack(path, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil*")) and not list(tmp_path.rglob("good*"))


def test_paths_of_windows_are_folders_and_a_colon_may_be_in_a_name(tmp_path):
    names = {"no\\": b"", "no\\a.png": b"a", "yes\\b 10:30.png": b"b", "yes/c.png": b"c"}
    out = unpack(pack(tmp_path / "a.zip", names), tmp_path / "out")
    read = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert read == {"no/a.png", "yes/b 10:30.png", "yes/c.png"}
    assert (out / "no" / "a.png").read_bytes() == b"a"


@pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damage_is_a_sentence_whichever_way_a_file_is_packed(tmp_path, way):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", way) as packed:
        packed.writestr("x.png", bytes(range(256)) * 2)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[60:90] = b"\xff" * 30
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(CourseError, match="cannot be unpacked"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_what_cannot_be_unpacked_is_refused_in_one_sentence(tmp_path, monkeypatch):
    out = tmp_path / "out"
    for name, words in (("none.zip", "is missing"), ("text.zip", "cannot be unpacked")):
        if name == "text.zip":
            (tmp_path / name).write_text("no zip file")
        with pytest.raises(CourseError, match=words):
            unpack(tmp_path / name, out)
    with pytest.raises(CourseError, match="holds no file"):
        unpack(pack(tmp_path / "empty.zip", {"__MACOSX/x": b""}), out)
    damaged = pack(tmp_path / "damaged.zip", {"x.png": b"0123456789" * 50})
    content = bytearray(damaged.read_bytes())
    content[60:70] = b"##########"
    damaged.write_bytes(content)
    with pytest.raises(CourseError, match="cannot be unpacked"):
        unpack(damaged, out)
    secret = bytearray(pack(tmp_path / "secret.zip", {"x.png": b"x"}).read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        secret[secret.index(mark) + (6 if mark[2] == 3 else 8)] |= 1
    (tmp_path / "secret.zip").write_bytes(secret)
    with pytest.raises(CourseError, match="has a password"):
        unpack(tmp_path / "secret.zip", out)
    full = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(CourseError, match="no room"):
        unpack(pack(tmp_path / "large.zip", {"x.png": b"x" * 100}), out)
    assert not [path for path in out.rglob("*") if path.is_file()]
