"""Images to NumPy arrays, decoded once and then memory-mapped."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.data import sources, store
from lib.data.catalog import entry_of
from lib.data.store import DataError

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 1000


def arrays(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """`x, y` of one split: images uint8 (N, H, W) or (N, H, W, 3); labels int64 (N,), or masks if it has them.

    The first call decodes into the cache; later ones map the file, copy-on-write: pages are read when they are needed,
    what you change stays in memory, and `torch.from_numpy(x)` needs no copy.
    """
    entry = entry_of(name)
    if entry.images is None:
        raise DataError(f"{name} holds no images ({entry.what}). Use load({name!r}).")
    found = sources.find(entry, split)
    part = next(s.part_name for s in found.splits if s.name == split)
    folder = store.cache() / "arrays" / name / found.key(part)[:32]  # an array never outlives the bytes it was made of
    paths = [folder / f"{split}-{axis}.npy" for axis in "xy"]
    if not all(path.is_file() for path in paths):
        with store.locked(folder):
            dataset = sources.cut(entry, found)[split]
            columns = ((entry.images.x, entry.images.x_mode), (entry.images.y, entry.images.y_mode))
            for path, (column, mode) in zip(paths, columns, strict=True):
                if not path.is_file():
                    _write(path, dataset, column, mode)
    x, y = (np.load(path, mmap_mode="c").view(np.ndarray) for path in paths)
    return x, y


def _write(path: Path, dataset: Dataset, column: str, mode: str) -> None:
    """One column into a .npy file, batch by batch. Written, not mapped: a full disk then raises and does not crash."""
    from tqdm import tqdm

    shape: tuple[int, ...] | None = None
    bar = tqdm(total=len(dataset), desc=f"decoding {column}", unit="image", delay=5, leave=False)
    with bar, store.whole(path) as file:
        tables: Any = dataset.with_format("arrow").iter(BATCH)
        for table in tables:
            rows = _decode(table.column(column).combine_chunks(), mode)
            if shape is None:
                shape = rows[0].shape
                header = {"descr": rows[0].dtype.str, "fortran_order": False, "shape": (len(dataset), *rows[0].shape)}
                np.lib.format.write_array_header_1_0(file, header)
            other = next((row.shape for row in rows if row.shape != shape), shape)
            if other != shape:
                raise DataError(f"{column}: images of different sizes, {shape} and {other}, do not make one array.")
            file.write(np.asarray(rows).tobytes())
            bar.update(len(rows))


def _decode(column: Any, mode: str) -> Sequence[np.ndarray]:
    """A batch of an Arrow column: images (structs with their bytes) to uint8, numbers to int64."""
    import pyarrow as pa
    from PIL import Image

    if not pa.types.is_struct(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.int64)
    images = (Image.open(io.BytesIO(data)) for data in column.field("bytes").to_pylist())
    return [np.asarray(image if image.mode == mode else image.convert(mode)) for image in images]
