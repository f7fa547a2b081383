"""Where the bytes of an entry come from. Each source either finds the data, or says in a sentence why it cannot.

The order is the order of `SOURCES`. A wrong checksum is never a reason to go on to the next source: it raises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import ROOT
from lib.data import readers, store
from lib.data.catalog import Entry, File, Split
from lib.data.store import DataError

if TYPE_CHECKING:
    import datasets


class Missing(Exception):
    """This source does not have the data; the message says why."""


@dataclass(frozen=True)
class Found:
    """A source that has the data: its kind, where it is, its splits, how to open it, and what identifies its bytes."""

    kind: str
    where: str
    splits: tuple[Split, ...]
    open: Callable[[], Any]
    """-> dict of part -> Dataset."""
    key: Callable[[str], str]
    """part -> what names its bytes: a checksum, or a version."""


def shipped() -> Path:
    return ROOT / "data"


def mirrors() -> list[Path]:
    """The folders of $COURSE_DATA, separated as in PATH."""
    return [Path(part).expanduser() for part in os.environ.get("COURSE_DATA", "").split(os.pathsep) if part]


def roots() -> Iterator[tuple[str, Path]]:
    """Folders that may hold files, in the order in which they are looked through."""
    yield "shipped", shipped()
    for mirror in mirrors():
        yield "mirror", mirror
    yield "cache", store.cache()


def in_folder(entry: Entry, root: Path) -> list[Path]:
    """The entry's files below `root`, each checked; `Missing` if one is not there."""
    if not entry.files:
        raise Missing("its files are not declared")
    if not root.is_dir():
        raise Missing(f"no such folder: {root}")
    paths = [root / file.path for file in entry.files]
    for file, path in zip(entry.files, paths, strict=True):
        if not path.is_file():
            raise Missing(f"not there: {path}")
        store.check(path, file.size, file.sha256)
    return paths


def from_folder(entry: Entry, kind: str, root: Path) -> Found:
    paths = {path.stem: path for path in in_folder(entry, root)}
    sums = {Path(file.path).stem: file.sha256 for file in entry.files}
    return Found(
        kind,
        str(root),
        entry.splits,
        open=lambda: {part: readers.parquet(path, sums[part]) for part, path in paths.items()},
        key=sums.__getitem__,
    )


def from_library(entry: Entry) -> Found:
    """Data inside a library that is installed anyway: scikit-learn's digits."""
    if not entry.library:
        raise Missing("no installed library carries it")
    version, read = readers.LIBRARIES[entry.library]
    try:
        number = version()
    except ImportError as error:
        raise Missing(f"{error}; install the course's requirements") from error
    return Found("library", f"{entry.library} {number}", entry.splits, open=read, key=lambda part: f"{part}-{number}")


def find(entry: Entry, split: str | None = None, only: str | None = None, network: bool = True) -> Found:
    """The first source, of kind `only` if given, that has the data (and `split`); else a `DataError` that lists them all."""
    tried: list[str] = []
    for kind, where, look in sources(entry, network):
        if only and kind != only:
            continue
        try:
            found = look()
            if split and split not in [s.name for s in found.splits]:
                raise Missing(f"has no split {split!r}")
        except Missing as error:
            tried.append(f"  {kind:8} {where}: {error}")
        else:
            store.log.info("%s: %s, %s", entry.name, found.kind, found.where)
            return found
    raise DataError(unreachable(entry, tried, split))


def sources(entry: Entry, network: bool = True) -> Iterator[tuple[str, str, Callable[[], Found]]]:
    """(kind, where, how to look) of each source of the entry, in order."""
    for kind, root in roots():
        yield kind, str(root), lambda kind=kind, root=root: from_folder(entry, kind, root)
    yield "library", entry.library or "-", lambda: from_library(entry)


def unreachable(entry: Entry, tried: list[str], split: str | None) -> str:
    what = f"{entry.name}, split {split!r}," if split else entry.name
    return "\n".join([f"{what} could not be found. Tried, in this order:", *tried])


def cut(found: Found) -> dict[str, datasets.Dataset]:
    """The splits of what was found, rows counted."""
    parts = found.open()
    out = {}
    for split in found.splits:
        part = parts[split.part or split.name]
        stop = split.start + split.rows
        expected = max(s.start + s.rows for s in found.splits if (s.part or s.name) == (split.part or split.name))
        if len(part) != expected:
            raise DataError(f"{found.where}: {split.name} has {len(part):,} rows where {expected:,} were declared.")
        out[split.name] = part if (split.start, stop) == (0, len(part)) else part.select(range(split.start, stop))
    return out
