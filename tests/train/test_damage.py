"""A checkpoint that is not as it was written is found out, and the one before it is used."""

import json
import shutil
from dataclasses import replace

import pytest

from lib.train import CheckpointError, fit
from tests.train import small

CONFIG = replace(small.CONFIG, steps=6, save_every=2)


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


def alter(path):
    """One bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path):
    """Plausible JSON, by hand."""
    sealed = json.loads(path.read_text())
    sealed["state"]["step"] += 1
    path.write_text(json.dumps(sealed))


DAMAGE = [
    (name, what, said)
    for name in ("model.safetensors", "optimizer.safetensors", "state.json")
    for what, said in ((shorten, "not as it was written"), (alter, "not as it was written"), ("gone", "is missing"))
] + [("state.json", edit, "SHA-256 differs")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    fit(small.task(), CONFIG, folder, show="none")
    return folder


@pytest.mark.parametrize(("name", "what", "said"), DAMAGE)
def test_the_checkpoint_before_is_used_with_a_warning(name, what, said, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    damaged = run / "step-00000006" / name
    damaged.unlink() if what == "gone" else what(damaged)
    with pytest.warns(UserWarning, match="Going on from step-00000004, the last good checkpoint") as caught:
        result = fit(small.task(), CONFIG, run, resume=True, show="none")
    assert f"step-00000006: {name}" in str(caught[0].message) and said in str(caught[0].message)
    assert result.step == 6
    for each in ("model.safetensors", "optimizer.safetensors", "state.json"):
        assert (run / "step-00000006" / each).read_bytes() == (finished / "step-00000006" / each).read_bytes()


def test_none_good_is_an_error_and_nothing_is_deleted(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    for path in run.glob("step-*/model.safetensors"):
        shorten(path)
    before = sorted(run.rglob("*"))
    with pytest.raises(CheckpointError) as caught:
        fit(small.task(), CONFIG, run, resume=True, show="none")
    assert "step-00000006: model.safetensors" in str(caught.value) and "step-00000004" in str(caught.value)
    assert "Nothing was changed" in str(caught.value)
    assert sorted(run.rglob("*")) == before


def test_a_format_of_the_future_is_refused_by_its_number(finished, tmp_path):
    from lib.train import checkpoint

    run = shutil.copytree(finished, tmp_path / "run")
    for path in run.glob("step-*/state.json"):
        state = json.loads(path.read_text())["state"]
        path.write_bytes(checkpoint._sealed(state | {"format": 99}))
    with pytest.raises(CheckpointError, match="has format 99"):
        fit(small.task(), CONFIG, run, resume=True, show="none")


def test_a_checkpoint_that_was_refused_goes_with_the_next_that_is_written(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    shorten(run / "step-00000006" / "model.safetensors")
    with pytest.warns(UserWarning, match="Going on"):
        fit(small.task(), replace(CONFIG, steps=5), run, resume=True, allow_changes=True, show="none")
    assert sorted(path.name for path in run.glob("step-*")) == ["step-00000004", "step-00000005"]


def test_other_versions_are_said(finished, tmp_path, monkeypatch):
    from lib.train import loop

    run = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(loop, "versions", lambda: {"torch": "9.9"})
    with pytest.warns(UserWarning, match="9.9.*will not end with the same bits"):
        fit(small.task(), CONFIG, run, resume=True, show="none")
