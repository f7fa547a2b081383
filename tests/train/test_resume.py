"""Going on: what must be equal, what is refused, and what a checkpoint holds. (Kills are in test_killed.py.)"""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch import nn

from lib.train import ConfigError, Task, TensorExamples, TrainConfig, fit, load_weights
from tests.train import small

CONFIG = replace(small.CONFIG, steps=6, save_every=2, eval_every=2)


def run(folder, config=CONFIG, task=None, **settings):
    return fit(task or small.task(), config, folder, show="none", **settings)


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"already holds a run.*resume=True.*another folder"):
        run(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}


def test_a_folder_with_other_files_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert run(tmp_path).step == 6
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_to_resume_starts_at_the_beginning_and_says_so(tmp_path, capsys):
    assert run(tmp_path / "new", resume=True).step == 6
    assert "No checkpoint in" in capsys.readouterr().out


def test_a_finished_run_stays_finished(tmp_path, capsys):
    first = run(tmp_path)
    task = small.task()
    again = run(tmp_path, task=task, resume=True)
    assert "Going on from step 6" in capsys.readouterr().out
    assert (again.step, again.metrics, again.history, again.best) == (6, first.metrics, first.history, first.best)
    other = small.task()
    load_weights(other.model, tmp_path / "step-00000006" / "model.safetensors")
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


def test_other_settings_are_refused_with_both_values(tmp_path):
    run(tmp_path)
    other = replace(small.task(dropout=0.5))
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, replace(CONFIG, steps=8, lr=0.2), other, resume=True)
    for line in (
        "train.steps: 6 in the checkpoint, 8",
        "train.lr: 0.1 in the",
        "options.dropout: 0.2 in the checkpoint, 0.5",
    ):
        assert line in str(caught.value)
    assert "momentum" not in str(caught.value) and "allow_changes=True" in str(caught.value)


def test_other_settings_on_purpose(tmp_path):
    run(tmp_path)
    result = run(tmp_path, replace(CONFIG, steps=8, batch=24, optimizer="adamw"), resume=True, allow_changes=True)
    assert result.step == 8 and [row["step"] for row in result.history] == list(range(1, 9))
    state = json.loads((tmp_path / "step-00000008" / "state.json").read_text())["state"]
    assert state["used"] == 6 * 12 + 2 * 24, "the sampler goes on where it stood"


def test_another_number_of_examples_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(ConfigError, match="examples: 50 in the checkpoint, 40 now"):
        run(tmp_path, task=replace(small.task(), train=small.Sentences(40)), resume=True)


def test_another_model_is_refused_whatever_is_allowed(tmp_path):
    run(tmp_path)
    wider = small.task()
    wider.model.leave = nn.Linear(8, 4)
    del wider.model.enter.bias
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, task=wider, resume=True, allow_changes=True)
    assert "leave.weight has shape (3, 8) in the file, (4, 8) in the model" in str(caught.value)
    assert "enter.bias is not in the model" in str(caught.value)


def test_options_that_json_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="plain values"):
        run(tmp_path, task=replace(small.task(), options={"act": nn.ReLU()}))


def test_the_last_two_are_kept_and_hold_each_tied_weight_once(tmp_path):
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000004", "step-00000006"]
    newest = tmp_path / "step-00000006"
    assert sorted(path.name for path in newest.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    with safe_open(newest / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "middle.weight" in names and "again.weight" not in names and "norm.running_mean" in names
    with safe_open(newest / "optimizer.safetensors", "pt") as file:
        assert set(file.keys()) == {f"{name}/momentum_buffer" for name, _ in small.Small().named_parameters()}
    state = json.loads((newest / "state.json").read_text())["state"]
    assert state["tied"] == {"again.weight": "middle.weight"}
    assert set(state["random"][0]) == {"python", "numpy", "torch"}


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    run(tmp_path)
    (tmp_path / ".step-00000009.tmp").mkdir()
    (tmp_path / ".step-00000009.tmp" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".best.safetensors.tmp").write_bytes(b"half")
    run(tmp_path, resume=True)
    assert not list(tmp_path.glob(".*"))


def test_evaluating_more_often_changes_nothing_in_training(tmp_path):
    def noisy(model):
        torch.rand(3)
        return {"accuracy": 0.5}

    runs = []
    for every in (1, 5):
        task = replace(small.task(), evaluate=noisy)
        fit(task, replace(CONFIG, eval_every=every), show="none")
        runs.append(nn.utils.parameters_to_vector(task.model.parameters()))
    assert torch.equal(*runs)


def test_the_caller_s_random_numbers_before_a_run_do_not_matter():
    runs = []
    for n in (1, 2):
        task = small.task()
        torch.manual_seed(n)
        fit(task, CONFIG, show="none")
        runs.append(nn.utils.parameters_to_vector(task.model.parameters()))
    assert torch.equal(*runs)


def test_gradients_from_before_a_run_do_not_matter():
    runs = []
    for scale in (0.0, 100.0):
        task = small.task()
        (scale * task.model(torch.ones(2, 9, 4)).sum()).backward()
        fit(task, CONFIG, show="none")
        runs.append(nn.utils.parameters_to_vector(task.model.parameters()))
    assert torch.equal(*runs)


def test_the_model_ends_in_eval_mode():
    task = small.task()
    fit(task, CONFIG, show="none")
    assert not task.model.training


def test_views_and_shared_memory_can_be_written(tmp_path):
    model = nn.Linear(2, 2)
    base = torch.arange(8.0)
    model.register_buffer("a", base[:4])
    model.register_buffer("b", base[2:].reshape(2, 3).T)
    model.register_buffer("none", torch.empty(0))
    task = Task(model, TensorExamples(torch.ones(4, 2)), lambda m, batch: (m(batch[0]).sum(), 4))
    fit(task, TrainConfig(steps=1, batch=4, accelerator="cpu"), tmp_path, show="none")
    other = nn.Linear(2, 2)
    for name, shape in (("a", 4), ("b", (3, 2)), ("none", 0)):
        other.register_buffer(name, torch.full(shape if isinstance(shape, tuple) else (shape,), 9.0))
    load_weights(other, tmp_path / "step-00000001" / "model.safetensors")
    assert torch.equal(other.a, base[:4]) and torch.equal(other.b, model.b)  # type: ignore[arg-type]
