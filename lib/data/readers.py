"""From bytes to `datasets.Dataset`: parquet files, text in archives, data inside an installed library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lib.data.store import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def parquet(path: Path, sha256: str) -> Dataset:
    """A parquet file as a Dataset; its features (images, class names) stand in the file's own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    return Dataset(InMemoryTable(table), fingerprint=sha256[:16])  # so that what `map` caches is found again


def _sklearn_version() -> str:
    import sklearn

    return sklearn.__version__


def _sklearn_digits() -> dict[str, Dataset]:
    """The 8x8 digits, grey levels 0 to 16 as scikit-learn gives them, stored as images like every other image set."""
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as pillow
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = {
        "image": [pillow.fromarray(image) for image in images.reshape(-1, 8, 8).astype("uint8")],
        "label": labels.tolist(),
    }
    features = Features({"image": Image(), "label": ClassLabel(names=[str(n) for n in range(10)])})
    return {"train": Dataset.from_dict(rows, features=features)}


LIBRARIES = {"scikit-learn": (_sklearn_version, _sklearn_digits)}
"""Library -> (its version, or ImportError; part -> Dataset)."""
