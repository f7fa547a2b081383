"""What a notebook calls: `load`, `path`, `source`; and what `course data` calls: `status`, `fetch`, `verify`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from lib.data import sources
from lib.data.catalog import CATALOG, Entry
from lib.data.store import DataError

if TYPE_CHECKING:
    import datasets


def entry_of(name: str) -> Entry:
    """The entry of that name; an unknown name is an error that suggests the nearest."""
    if name in CATALOG:
        return CATALOG[name]
    short = {key.rpartition("/")[2].lower(): key for key in CATALOG}
    near = difflib.get_close_matches(name.rpartition("/")[2].lower(), short, n=1, cutoff=0.4)
    guess = f" Did you mean {short[near[0]]!r}?" if near else ""
    raise DataError(f"There is no data set {name!r} in the catalogue.{guess} `course data list` shows them all.")


def load(name: str, source: str | None = None) -> datasets.DatasetDict:
    """The data set `name` with all its splits, from the first source that has it, or from the kind of `source` named.

    Kinds: "shipped", "mirror", "cache", "library", "package", "hub".
    """
    import datasets

    entry = entry_of(name)
    found = sources.find(entry, only=source)
    return datasets.DatasetDict(sources.cut(found))


def source(name: str) -> str:
    """One line: the kind of source and the place that `load(name)` would read from now, no network used."""
    found = sources.find(entry_of(name), network=False)
    return f"{found.kind}: {found.where}"
