"""Killed with SIGKILL at random moments and resumed, a run ends with the bits of one that was never killed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.train import killed

FORK = sys.platform == "linux"
"""Where a child can be forked off, a trial takes a fraction of a second; elsewhere each child imports torch anew."""
TRIALS = 20 if FORK else 4


def child(folder: Path, fatal: int) -> bool:
    """Run in a process of its own; whether it lived to the end."""
    if not FORK:
        command = [sys.executable, "-m", "tests.train.killed", str(folder), str(fatal)]
        return subprocess.run(command, capture_output=True).returncode == 0
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            killed.run(folder, fatal)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def content(folder: Path) -> dict[str, bytes]:
    """All that a run has left behind, but for TensorBoard's curves, which have the time in them."""
    files = [path for path in folder.rglob("*") if path.is_file() and "tensorboard" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that was never killed leaves behind, and the kinds of its moments."""
    import lightning.fabric  # noqa: F401  # children forked off have it at once
    import torch.utils.tensorboard  # noqa: F401

    folder = tmp_path_factory.mktemp("whole")
    assert child(folder / "run", 0)
    return content(folder / "run"), (folder / "kinds.txt").read_text().splitlines()


def test_the_run_has_what_could_go_wrong(whole):
    files, kinds = whole
    for name in ("step-00000021/state.json", "step-00000024/model.safetensors", "best.safetensors"):
        assert name in files
    assert len(files["metrics.csv"].splitlines()) == 25
    assert set(kinds) == {"batch", "half a file", "sync", "rename", "replace", "remove"}


@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_killed_run_ends_with_the_same_bits(trial, whole, tmp_path):
    """Killed twice: half the trials at any moment, the other half while something is written."""
    expected, kinds = whole
    rng = random.Random(trial)
    moments = [i for i, kind in enumerate(kinds, 1) if trial % 2 == 0 or kind != "batch"]
    assert not child(tmp_path / "run", rng.choice(moments))
    for best in tmp_path.glob("run/best.safetensors"):
        load_file(best)  # raises where it is not whole
    child(tmp_path / "run", rng.randint(1, len(kinds) // 2))  # it may be nearly done, and live
    assert child(tmp_path / "run", 0)
    got = content(tmp_path / "run")
    assert got.keys() == expected.keys()
    assert [name for name in expected if got[name] != expected[name]] == []
