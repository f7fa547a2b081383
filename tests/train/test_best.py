"""Early stopping and the best weights."""

import math
from dataclasses import replace

import pytest
import torch

from lib.train import ConfigError, fit, load_weights
from tests.train import small

CONFIG = replace(small.CONFIG, steps=20, eval_every=2, save_every=0, patience=3)


def scored(values, better=max):
    """The small task, its evaluations fixed in advance."""
    left = iter(values)
    return replace(small.task(), evaluate=lambda model: {"score": next(left)}, watch="score", better=better)


@pytest.mark.parametrize(
    ("values", "better", "stops", "best"),
    [
        ([1, 3, 2, 2, 2, 9], max, 10, 4),  # three evaluations without a better one after step 4
        ([1, 3, 2, 4, 3, 3, 3, 9], max, 14, 8),
        ([5, 5, 5, 5, 9], max, 8, 2),  # equal is not better
        ([5, 4, 6, 6, 6, 0], min, 10, 4),
        ([math.nan, 2, math.nan, 1, 1, 9], max, 10, 4),  # NaN never is
        ([math.nan, math.nan, math.nan, 9], max, 6, None),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], max, 20, 20),
    ],
)
def test_the_run_stops_at_the_right_step(values, better, stops, best):
    result = fit(scored(values, better), CONFIG, show="none")
    assert result.step == stops and (result.best.step if result.best else None) == best
    assert [row["step"] for row in result.history if "score" in row] == list(range(2, stops + 1, 2))
    assert result.metrics == pytest.approx({"score": values[stops // 2 - 1]}, nan_ok=True)
    if result.best:
        assert result.best.value == values[best // 2 - 1] and result.best.path == ""


def test_patience_counts_on_after_a_resume(tmp_path):
    values = [1, 3, 2, 2, 2, 9]
    fit(scored(values), replace(CONFIG, steps=6, schedule="constant"), tmp_path, show="none")
    config = replace(CONFIG, schedule="constant")
    result = fit(scored(values[3:]), config, tmp_path, resume=True, allow_changes=True, show="none")
    assert (result.step, result.best.step, result.best.value) == (10, 4, 3)
    again = fit(scored([]), config, tmp_path, resume=True, show="none")
    assert again.step == 10, "what stopped early has stopped"


def test_the_best_weights_are_kept_and_the_model_stays_as_it_ended(tmp_path):
    task, at = scored([1, 3, 2, 2, 2]), {}
    evaluate = task.evaluate

    def watched(model):
        at[len(at)] = {name: value.clone() for name, value in task.model.state_dict().items()}
        return evaluate(model)

    result = fit(replace(task, evaluate=watched), CONFIG, tmp_path, show="none")
    assert result.best.path == str(tmp_path / "best.safetensors")
    other = small.Small()
    load_weights(other, result.best.path)
    for name, value in other.state_dict().items():
        assert torch.equal(value, at[1][name]) and torch.equal(task.model.state_dict()[name], at[4][name])
    assert not torch.equal(at[1]["enter.weight"], at[4]["enter.weight"])


def test_without_patience_nothing_stops():
    assert fit(scored(range(10, 0, -1)), replace(CONFIG, patience=0), show="none").best.step == 2


def test_evaluation_comes_at_the_end_as_well():
    result = fit(scored([1, 2]), replace(CONFIG, steps=5, eval_every=3), show="none")
    assert [row["step"] for row in result.history if "score" in row] == [3, 5]
    result = fit(scored([1]), replace(CONFIG, steps=5, eval_every=0, patience=0), show="none")
    assert [row["step"] for row in result.history if "score" in row] == [5]


def test_evaluation_happens_in_eval_mode_without_gradients():
    seen = []

    def evaluate(model):
        seen.append((model.training, torch.is_grad_enabled()))
        return {"loss": torch.tensor(0.5), "score": 1}

    result = fit(
        replace(small.task(), evaluate=evaluate, watch="score"), replace(CONFIG, steps=2, warmup=0), show="none"
    )
    assert seen == [(False, False)]
    row = result.history[-1]
    assert row["eval_loss"] == 0.5 and row["loss"] != 0.5, "the loss of training keeps its column"
    assert result.metrics == {"loss": 0.5, "score": 1.0} and type(result.metrics["loss"]) is float


@pytest.mark.parametrize(
    ("task", "config", "said"),
    [
        ({"evaluate": None}, {}, "the task has no `evaluate` to watch"),
        ({"watch": ""}, {}, "patience=3 needs a task that names a metric"),
        ({}, {"eval_every": 0}, "and eval_every > 0"),
        ({"watch": "scrore"}, {}, "watch='scrore' is not among what evaluate returns: accuracy"),
    ],
)
def test_what_cannot_be_watched_is_refused(task, config, said):
    with pytest.raises(ConfigError, match=said):
        fit(replace(small.task(), **task), replace(CONFIG, **config), show="none")
