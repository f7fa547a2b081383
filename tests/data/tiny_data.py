"""Small real data, made afresh: a parquet file of PNG images, and archives as PyPI would serve them."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as pillow

from lib.data.entry import Entry, File, Images, Package, Split

NAME = "course/tiny"
ROWS = 2500  # more than two batches of `arrays`


def pixels(rows=ROWS, size=4):
    return np.random.default_rng(0).integers(0, 256, (rows, size, size), dtype=np.uint8)


def make(folder, images=None, **more):
    """Write `course/tiny/train.parquet` below `folder`; the entry that declares it, cut into train and validation."""
    images = pixels() if images is None else images
    rows = {"image": [pillow.fromarray(image) for image in images], "label": [n % 3 for n in range(len(images))]}
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b", "c"])})
    path = Path(folder) / NAME / "train.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(rows, features=features).to_parquet(path)
    declared = declare(path, f"{NAME}/train.parquet")
    splits = (Split("train", len(images) - 10), Split("validation", 10, "train", start=len(images) - 10))
    return Entry(NAME, "noise", "none", files=(declared,), splits=splits, images=Images("image", "label"), **more)


def declare(path, name):
    data = Path(path).read_bytes()
    return File(name, len(data), hashlib.sha256(data).hexdigest())


def wheel(folder, members):
    """A wheel `course_tiny` 1.0 that holds `members` (name -> bytes); the package that declares it."""
    path = Path(folder) / "course_tiny-1.0-py3-none-any.whl"
    info = "course_tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: course-tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Package("course-tiny==1.0", declare(path, f"packages/{path.name}"), folder="course_tiny/model")


def sdist(folder, members, reader):
    """A source archive `course-tiny` 1.0; the package that declares it."""
    path = Path(folder) / "course_tiny-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(f"course_tiny-1.0/{name}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return Package("course-tiny==1.0", declare(path, f"packages/{path.name}"), reader=reader)


def start(code, *arguments, prefix=(), home=None, **more):
    """Run `code` in a Python of its own, with this module importable. Its standard output and errors are piped."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    if home is not None:
        environment["COURSE_HOME"] = str(home)
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def files(folder):
    """Every file below the cache but the locks, as posix names."""
    found = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if path.parts[0] != "locks")
