"""Two real processes (gloo, CPU), with DDP and with FSDP: the same parameters as one, and they stop together."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from lib.train import ConfigError, fit
from tests.train import together

ROOT = Path(__file__).parents[2]
STRATEGIES = ("ddp", "fsdp")

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this build of torch has no gloo, through which processes on a CPU talk",
)


def ran(*command, cwd=ROOT):
    """Run a command with no trace of this process's own group."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "WORLD_SIZE", "RANK")}
    env |= {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of all runs of two processes, what each process saw, and what they printed to their two streams.

    They run once, however many workers of pytest-xdist share these tests.
    """
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "two"
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            folder.mkdir()
            done = ran(sys.executable, "-m", "tests.train.together", str(folder))
            (folder / "printed.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
    returncode, *printed = json.loads((folder / "printed.json").read_text())
    assert returncode == 0, printed
    return folder, [json.loads((folder / f"rank-{n}.json").read_text()) for n in range(2)], printed


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The same runs by one process."""
    folder = tmp_path_factory.mktemp("one")
    results = {
        name: fit(together.task(), config, folder / name, show="none") for name, config in together.PARITY.items()
    }
    return folder, results


def final(run):
    return load_file(run / "step-00000012" / "model.safetensors")


@pytest.mark.parametrize("name", together.PARITY)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_parameters_equal_those_of_one_process_with_the_same_global_batch(strategy, name, two, one):
    ours, single = final(two[0] / strategy / name), final(one[0] / name)
    assert ours.keys() == single.keys()
    most = max((ours[key] - single[key]).abs().max() for key in single)
    assert most < (1e-12 if name == "double" else 1e-6)
    for seen in two[1]:
        assert seen[strategy][name]["loss"] == pytest.approx(one[1][name].history[-1]["loss"], abs=1e-6)
        assert seen[strategy][name]["metrics"] == one[1][name].metrics


def test_the_parameters_moved_and_the_processes_had_different_counts(one):
    start = together.task().model.state_dict()
    assert all((final(one[0] / "adamw")[name] - start[name]).abs().max() > 0.01 for name in final(one[0] / "adamw"))
    lengths = together.Still().lengths
    assert lengths[:8].sum() != lengths[8:16].sum()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_trained_model_can_be_made_whole_in_every_process(strategy, two):
    assert all(seen[strategy]["gathered"] for seen in two[1])


def test_fsdp_shares_the_parameters_out(two):
    assert [seen["ddp"]["shards"][1] for seen in two[1]] == [[7, 4], [7, 4]]
    assert [seen["fsdp"]["shards"][1] for seen in two[1]] == [[4, 4], [3, 4]]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_is_told_to_stop_and_both_do_and_go_on_to_the_same_bits(strategy, two):
    """With dropout: each process has random states of its own, and gets its own back."""
    folder = two[0] / strategy
    for seen in two[1]:
        assert seen[strategy]["stopped"] == [5, str(folder / "halves" / "step-00000005")]
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        whole, halves = (folder / run / "step-00000012" / name for run in ("whole", "halves"))
        assert whole.read_bytes() == halves.read_bytes(), name
    assert (folder / "whole" / "metrics.csv").read_bytes() == (folder / "halves" / "metrics.csv").read_bytes()
    random = json.loads((folder / "whole" / "step-00000012" / "state.json").read_text())["state"]["random"]
    assert len(random) == 2 and random[0]["torch"] != random[1]["torch"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_processes_stop_at_a_loss_that_is_not_finite(strategy, two):
    kinds, texts = zip(*(seen[strategy]["bad"] for seen in two[1]), strict=True)
    assert kinds == ("NonFiniteLoss",) * 2 and texts[0] == texts[1]
    indices = json.loads(re.search(r"Indices of the batch: (\[.*\])", texts[0])[1])
    assert 17 in indices and len(indices) == 8, "the part of the process that had it"
    assert "The batch itself" in texts[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_refused_is_refused_in_every_process(strategy, two):
    for seen in two[1]:
        assert seen[strategy]["again"][0] == "ConfigError" and "already holds a run" in seen[strategy]["again"][1]
        assert "2 process(es) were started, and devices=1" in seen[strategy]["one"][1]


def test_only_the_first_process_prints(two):
    out, err = two[2]
    assert out.count("Going on from step 5") == 2 and out.count("\n") == 2, "once with each strategy"
    bars = [line for line in err.splitlines() if line]  # \r has become \n
    assert all("/12 [" in bar for bar in bars), "nothing but bars"
    assert sum(" 0/12 " in bar for bar in bars) == 2, "one with each strategy"


def test_one_process_goes_on_with_what_two_began_and_the_other_way_round(two, tmp_path):
    import shutil

    run = shutil.copytree(two[0] / "fsdp" / "adamw", tmp_path / "run")
    shutil.rmtree(run / "step-00000012")
    with pytest.raises(ConfigError, match=r"train\.devices: 2 in the checkpoint, 1 now"):
        fit(together.task(), together.CONFIG, run, resume=True, show="none")
    result = fit(together.task(), together.CONFIG, run, resume=True, allow_changes=True, show="none")
    assert result.step == 12
    ours, theirs = final(run), final(two[0] / "fsdp" / "adamw")
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < 1e-6


def test_a_notebook_cannot_start_processes(monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "get_ipython", None, raising=False)
    with pytest.raises(ConfigError, match="devices=2 needs a script"):
        fit(together.task(), replace(together.CONFIG, devices=2), show="none")


def test_course_train_under_torchrun(tmp_path):
    (tmp_path / "line.yaml").write_text(
        "task: line\ntrain: {steps: 40, batch: 16, lr: 0.2, devices: 2, accelerator: cpu}\n", "utf-8"
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = ran(sys.executable, *torchrun, "-m", "tests.train.course", "train", "line.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "line" / "step-00000040" / "model.safetensors").is_file()
    assert len((tmp_path / "runs" / "line" / "metrics.csv").read_text().splitlines()) == 41
