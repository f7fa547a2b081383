"""Images to NumPy arrays, decoded once and then memory-mapped."""

from __future__ import annotations

import io
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
            values = _decode(table.column(column), mode)
            if shape is None:
                shape = values.shape[1:]
                header = {"descr": values.dtype.str, "fortran_order": False, "shape": (len(dataset), *shape)}
                np.lib.format.write_array_header_1_0(file, header)
            elif values.shape[1:] != shape:
                raise DataError(f"images of different sizes in {column}: {shape} and {values.shape[1:]}")
            file.write(values.tobytes())
            bar.update(len(values))


def _decode(column: Any, mode: str) -> np.ndarray:
    """A batch of an Arrow column: images (a struct with their bytes) to uint8, numbers to int64."""
    import pyarrow as pa
    from PIL import Image

    column = column.combine_chunks()
    if not pa.types.is_struct(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.int64)
    out = []
    for data in column.field("bytes").to_pylist():
        image = Image.open(io.BytesIO(data))
        out.append(np.asarray(image if image.mode == mode else image.convert(mode)))
    return np.stack(out)
