"""A disk that takes nothing more: the run goes on, says what it could not save, and lists it."""

import errno
import os
import sys
from dataclasses import replace

import pytest
import torch

from lib import files
from lib.train import fit
from tests.train import small

pytestmark = pytest.mark.filterwarnings("ignore:Could not save", "ignore:This run could not save")

CONFIG = replace(small.CONFIG, steps=6, save_every=2, eval_every=3)


def weights(task):
    return torch.nn.utils.parameters_to_vector(task.model.parameters())


@pytest.fixture(scope="module")
def expected():
    """What the same run makes of the weights when all is well."""
    task = small.task()
    fit(task, CONFIG, show="none")
    return weights(task)


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch, expected):
    monkeypatch.setattr(files, "write", full)
    task = small.task()
    with pytest.warns(UserWarning) as caught:
        result = fit(task, CONFIG, tmp_path, show="none")
    said = [str(warning.message) for warning in caught]
    assert torch.equal(weights(task), expected) and result.step == 6
    for step in (2, 4, 6):
        assert f"the checkpoint of step {step}: No space left on device" in result.unsaved
    assert sum(text.startswith("Could not save the checkpoint") for text in said) == 1, "once for each cause"
    assert any(text.startswith("This run could not save") and "of step 6" in text for text in said)
    assert any(text.startswith("best.safetensors of step 3") for text in result.unsaved)
    assert result.best is not None and result.best.path == ""
    assert any(text.startswith("metrics.csv from step 1 on") for text in result.unsaved)
    assert not [path for path in tmp_path.iterdir() if path.name != "tensorboard"], "half-written files take space"


def test_a_checkpoint_that_failed_leaves_the_one_before(tmp_path, monkeypatch):
    real, steps = files.write, []

    def third(path, data):
        if path.name == "model.safetensors":
            steps.append(path.parent.name)
            if len(steps) == 3:
                with open(path, "wb") as file:
                    file.write(data[:100])
                full()
        return real(path, data)

    monkeypatch.setattr(files, "write", third)
    with pytest.warns(UserWarning, match="Could not save the checkpoint of step 6"):
        result = fit(small.task(), CONFIG, tmp_path, show="none")
    assert sorted(path.name for path in tmp_path.glob("*step-*")) == ["step-00000002", "step-00000004"]
    assert result.unsaved == ["the checkpoint of step 6: No space left on device"]
    monkeypatch.setattr(files, "write", real)
    assert fit(small.task(), CONFIG, tmp_path, resume=True, show="none").unsaved == []


def test_rows_wait_until_the_disk_takes_them(tmp_path, monkeypatch):
    real, failures = files.put, [None] * 2

    def put(path, data):
        if path.name == "metrics.csv" and len(data) and failures:
            failures.pop()
            full()
        return real(path, data)

    monkeypatch.setattr(files, "put", put)
    with pytest.warns(UserWarning, match="Could not save metrics.csv"):
        result = fit(small.task(), CONFIG, tmp_path, show="none")
    assert result.unsaved == [] and len((tmp_path / "metrics.csv").read_text().splitlines()) == 7


def test_a_place_where_no_folder_can_be(tmp_path, expected):
    """A file where a folder should be: no user, not even root, can write there."""
    (tmp_path / "file").write_text("")
    task = small.task()
    with pytest.warns(UserWarning, match="Could not save the folder"):
        result = fit(task, CONFIG, tmp_path / "file" / "run", show="none")
    assert torch.equal(weights(task), expected)
    kinds = {entry.partition(" of ")[0].partition(" from ")[0] for entry in result.unsaved}
    assert {"the checkpoint", "best.safetensors", "metrics.csv"} <= kinds


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a process's files")
def test_a_real_limit_on_the_size_of_files(tmp_path, expected):
    """The kernel refuses: 2,000 bytes hold a few rows, and no checkpoint's state.json."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    task = small.task()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.warns(UserWarning, match="Could not save the checkpoint of step 2: File too large"):
            result = fit(task, CONFIG, tmp_path / "run", show="none")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(weights(task), expected)
    assert "the checkpoint of step 6: File too large" in result.unsaved
    assert not list((tmp_path / "run").glob("*step-*"))


def test_a_board_that_fails_is_given_up(tmp_path, monkeypatch):
    from torch.utils import tensorboard

    monkeypatch.setattr(tensorboard.SummaryWriter, "add_scalar", full)
    with pytest.warns(UserWarning, match="Could not save TensorBoard's curves"):
        result = fit(small.task(), CONFIG, tmp_path, show="none")
    assert result.unsaved == ["TensorBoard's curves: No space left on device"]


def test_old_checkpoints_that_cannot_be_removed_do_not_stop_the_run(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "rmtree", full)
    with pytest.warns(UserWarning, match="Could not remove old checkpoints at step 6"):
        result = fit(small.task(), CONFIG, tmp_path, show="none")
    assert len(list(tmp_path.glob("step-*"))) == 3 and len(result.unsaved) == 1
