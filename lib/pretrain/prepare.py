"""From a text to packed ids on the disk, once: later runs, and the other processes of this one, find them there.

    made = prepare(Source("SetFit/bbc-news", n_vocab=4096))
    made.tokenizer, made.train, made.held, made.n_bytes

The folder is $COURSE_HOME/data/packed/<text>-<key>; the key stands for all that decides what is in it. Of a stream no
more is read than is used. The first documents are held: they are scored, and neither the tokenizer nor the model learns
from them or from near copies of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lib import files
from lib.data import DataError, cache, load
from lib.data.catalog import entry_of
from lib.pretrain import packing
from lib.pretrain.documents import without_copies
from lib.shapes import require
from lib.tokens.base import Tokenizer
from lib.tokens.bpe import BPE
from lib.tokens.load import load as load_tokenizer

END = "<|endoftext|>"
"""GPT-2's name for it."""
READ_AT_ONCE = 10_000
"""Documents."""


@dataclass(frozen=True)
class Source:
    """What decides the packed ids. text: a data set with a column `text` and a split `train`."""

    text: str
    n_vocab: int
    """Pieces of the tokenizer that is learned: byte-level BPE, cut as GPT-2's."""
    tokenizer: str = ""
    """A tokenizer.json to use in its place; it must have END."""
    n_sample: int = 10_000_000
    """Characters that the tokenizer is learned from."""
    n_train: int = 10**12
    """Ids to train on, at most."""
    n_held: int = 50
    """Documents that are held."""

    @property
    def key(self) -> str:
        """Eight signs that stand for all of this, the version of the text and the tokenizer's content."""
        entry = entry_of(self.text)
        version = [file.sha256 for file in entry.files] or [entry.hub.revision if entry.hub else ""]
        tokenizer = hashlib.sha256(Path(self.tokenizer).read_bytes()).hexdigest() if self.tokenizer else ""
        made = json.dumps(asdict(self) | {"tokenizer": tokenizer, "version": version})
        return hashlib.sha256(made.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Prepared:
    tokenizer: Tokenizer
    end: int
    train: np.ndarray
    held: np.ndarray
    n_bytes: int
    """Of the text that is held, in UTF-8: loss per byte can be compared between tokenizers."""


def prepare(source: Source) -> Prepared:
    """The packed ids of a source, written where they are not there yet. DataError where the text cannot be had."""
    from filelock import FileLock

    if source.tokenizer and not Path(source.tokenizer).is_file():
        raise DataError(f"There is no tokenizer {source.tokenizer}. Name a tokenizer.json, or none to learn one.")
    folder = cache() / "packed" / f"{source.text.replace('/', '--')}-{source.key}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # one process writes, the others wait and read
        if not (folder / "held.json").is_file():  # written last
            _write(source, folder)
    about = json.loads((folder / "held.json").read_text("utf-8"))
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    train, held = (packing.read(folder / f"{name}.npy") for name in ("train", "held"))
    return Prepared(tokenizer, tokenizer.id_of(END), train, held, about["n_bytes"])


def _write(source: Source, folder: Path) -> None:
    """tokenizer.json, train.npy, held.npy and, once they are there, held.json."""
    held = list(islice(_texts(source), source.n_held))
    require(len(held) == source.n_held, f"{source.text} has {len(held)} documents, and {source.n_held} are to be held")
    tokenizer = load_tokenizer(source.tokenizer) if source.tokenizer else _learned(source, held)
    tokenizer.id_of(END)  # KeyError with the reason where there is none
    tokenizer.save(folder / "tokenizer.json")
    for name, texts in (("train", _kept(source, held)), ("held", iter(held))):
        ids = (tokenizer.encode(text, special=False).ids for text in _shown(texts, name))
        packing.write(folder / f"{name}.npy", ids, tokenizer.id_of(END), len(tokenizer), source.n_train)
    about = {"n_bytes": sum(len(text.encode()) for text in held), "source": asdict(source)}
    files.put(folder / "held.json", json.dumps(about, indent=2).encode())


def _texts(source: Source) -> Iterator[str]:
    return (row["text"] for row in load(source.text)["train"].select_columns("text"))  # pyright: ignore


def _kept(source: Source, held: list[str]) -> Iterator[str]:
    """What is trained on: not the held documents, nor near copies."""
    rest = islice(_texts(source), source.n_held, None)
    while some := list(islice(rest, READ_AT_ONCE)):
        yield from without_copies(some, held)


def _learned(source: Source, held: list[str]) -> Tokenizer:
    def sample() -> Iterator[str]:
        n = 0
        for text in _kept(source, held):
            yield text
            n += len(text)
            if n >= source.n_sample:
                return

    return BPE.train(sample(), source.n_vocab, specials=[END])


def _shown(texts: Iterable[str], name: str) -> Iterator[str]:
    """The texts, with a bar of the documents read."""
    from tqdm import tqdm

    return iter(tqdm(texts, desc=f"packing: {name}", unit=" documents", delay=2, leave=False))
