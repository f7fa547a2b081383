"""Documents end to end, cut into rows of one length: nothing is padded, and no document sees another.

    ids = pack(documents, end)                              one long row, with `end` before each document
    write("train.npy", documents, end, n_vocab)             the same into a file, for more than fits into memory
    ids = read("train.npy")                                 of which only what is used is read

    x, y, numbers = Packed(ids, n_context, end).batch([0, 7])
    logits = model(x, mask=documents(numbers))              lib/attention/masks.py::documents

`end` says that a document is over and that another begins: a model learns to write it, and begins to write from it. A
row starts where the one before ended, so a long document goes on in the next row without what came before.
T. Brown et al. (2020), "Language Models are Few-Shot Learners", section 2.3 and appendix B, packs so, without the mask;
with it: A. Grattafiori et al. (2024), "The Llama 3 Herd of Models", section 3.2.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib import files
from lib.shapes import BT, require


def pack(documents: Iterable[Sequence[int]], end: int) -> np.ndarray:
    """`end`, the ids of the first document, `end`, those of the second, ...: (n_ids,) int64. No document, no ids."""
    return np.fromiter((i for document in documents for i in (end, *document)), dtype=np.int64)


class Packed:
    """The rows of packed ids, as examples for lib.train. Every id but the first is predicted once in an epoch.

    len() is their number; what is left at the end and fills no row is not used. ValueError where there is no row.
    """

    def __init__(self, ids: np.ndarray, n_context: int, end: int):
        require(n_context >= 1, f"a row holds at least 1 id, not {n_context}")
        require(ids.ndim == 1, f"packed ids are one long row, not an array of shape {ids.shape}")
        need = f"a row of {n_context} ids and the one that follows"
        require(len(ids) > n_context, f"{need} are more than the {len(ids)} ids there are: pack more documents")
        self.ids, self.n_context, self.end = ids, n_context, end

    def __len__(self) -> int:
        return (len(self.ids) - 1) // self.n_context

    def batch(self, indices: Sequence[int], rng: torch.Generator | None = None) -> tuple[BT, BT, BT]:
        """x, the ids; y, the id that follows each; numbers, which document of its row each is in. Each (B, T), int64.

        The last id of a document is followed by `end`, and `end` by the first id of the next document.
        """
        at = np.asarray(indices)[:, None] * self.n_context + np.arange(self.n_context + 1)
        ids = torch.from_numpy(self.ids[at].astype(np.int64))
        x, y = ids[:, :-1], ids[:, 1:]
        return x, y, (x == self.end).cumsum(1)

    def batches(self, n_rows: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All rows in order, n_rows at a time, to score them."""
        for first in range(0, len(self), n_rows):
            yield self.batch(range(first, min(first + n_rows, len(self))))


def write(
    path: str | os.PathLike[str], documents: Iterable[Sequence[int]], end: int, n_vocab: int, n_most: int | None = None
) -> int:
    """Write packed ids as a .npy file, one document in memory at a time; how many there are, n_most if given.

    Two bytes for each id where n_vocab allows it, else four. The file gets its name once it is whole. ValueError for an
    id that is not below n_vocab.
    """
    dtype, n = np.dtype("<u2" if n_vocab <= 2**16 else "<u4"), 0
    with files.whole(Path(path)) as half, open(half, "wb") as file:
        _head(file, dtype, 0)
        begin = file.tell()
        for document in documents:
            ids = pack([document], end)[: None if n_most is None else n_most - n]
            low, high = int(ids.min(initial=end)), int(ids.max(initial=end))
            wrong = low if low < 0 else high
            require(0 <= wrong < n_vocab, f"ids go from 0 to {n_vocab - 1}, but a document has {wrong}")
            file.write(ids.astype(dtype).tobytes())
            n += len(ids)
            if n == n_most:
                break
        file.seek(0)
        _head(file, dtype, n)  # NumPy leaves room in it for a longer number
        assert file.tell() == begin
        file.flush()
        os.fsync(file.fileno())
    return n


def _head(file, dtype: np.dtype, n: int) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": (n,)})


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """Packed ids out of a file, which stays on the disk: what is not used is not read. ValueError for another file."""
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} holds no packed ids ({error}): remove it, and it is written again") from None
    right = isinstance(ids, np.ndarray) and ids.ndim == 1 and ids.dtype.kind == "u"
    require(right, f"{path} holds no packed ids: remove it, and it is written again")
    return ids
