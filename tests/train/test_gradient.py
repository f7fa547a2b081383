"""The gradient is that of one large batch, whoever computes which part of it; the update is the textbook's."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.train import ConfigError, Task, TensorExamples, TrainConfig, fit, parallel, rate
from lib.train.schedule import make_optimizer
from tests.train import small


class Plain(nn.Module):
    """No dropout and no batch norm: what a batch gives does not depend on how it is cut."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, x):
        return self.layers(x)


class Still(small.Sentences):
    """The same sentences with no noise; in their own precision."""

    def __init__(self, dtype):
        super().__init__()
        self.x = self.x.to(dtype)

    def batch(self, indices, rng):
        return self.x[indices], self.y[indices], torch.arange(9) < self.lengths[indices, None]


def loss(model, batch):
    x, y, real = batch
    return F.cross_entropy(model(x)[real], y[real], reduction="sum"), real.sum()


def trained(dtype=torch.float32, **settings):
    torch.manual_seed(0)
    task = Task(Plain(), Still(dtype), loss)
    config = TrainConfig(**{"steps": 20, "batch": 24, "lr": 0.05, "accelerator": "cpu"} | settings)
    made = fit(task, config, show="none")
    return nn.utils.parameters_to_vector(task.model.parameters()).detach(), made


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("64-true", torch.float64)])
@pytest.mark.parametrize("k", [2, 3, 8])
def test_accumulating_equals_one_large_batch_where_counts_differ(k, precision, dtype, optimizer):
    settings = {"precision": precision, "optimizer": optimizer, "clip": 0.3, "weight_decay": 0.1}
    (one, a), (parts, b) = trained(dtype, **settings), trained(dtype, accumulate=k, **settings)
    assert one.dtype == dtype
    assert (one - parts).abs().max() < (1e-6 if dtype == torch.float32 else 1e-14)
    assert [row["loss"] for row in a.history] == pytest.approx([row["loss"] for row in b.history], abs=1e-6)


def test_the_counts_of_the_parts_do_differ():
    """Else the test above would pass with each part's own mean."""
    counts = [int(Still(torch.float32).lengths[i : i + 8].sum()) for i in (0, 8, 16)]
    assert len(set(counts)) == 3


def test_a_step_is_what_torch_does_with_the_mean_loss():
    """Our loop against a plain one: the same batches, torch's own clipping, the same optimizer."""
    config = TrainConfig(
        steps=15, batch=50, lr=0.05, clip=0.2, weight_decay=0.1, warmup=3, precision="64-true", accelerator="cpu"
    )
    torch.manual_seed(0)
    task = Task(Plain(), Still(torch.float64), loss)
    result = fit(task, config, show="none")
    torch.manual_seed(0)
    model, examples, norms = Plain().double(), Still(torch.float64), []
    optimizer = make_optimizer(model, config)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(config, step)
        total, count = loss(model, examples.batch(range(50), None))  # all there are: their order matters to no one
        optimizer.zero_grad()
        (total / count).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), config.clip)))
        optimizer.step()
    for ours, plain in zip(task.model.parameters(), model.parameters(), strict=True):
        assert (ours - plain).abs().max() < 1e-12
    assert [row["norm"] for row in result.history] == pytest.approx(norms, abs=1e-12)
    assert max(norms) > config.clip, "nothing was clipped"


def test_weight_decay_is_for_matrices_alone():
    groups = make_optimizer(Plain(), TrainConfig(steps=1, weight_decay=0.1)).param_groups
    assert [(group["weight_decay"], {p.ndim for p in group["params"]}) for group in groups] == [(0.1, {2}), (0.0, {1})]


def test_frozen_parameters_stay():
    torch.manual_seed(0)
    model = Plain()
    model.layers[0].requires_grad_(False)
    before = model.layers[0].weight.clone()
    fit(Task(model, Still(torch.float32), loss), TrainConfig(steps=3, weight_decay=0.5, accelerator="cpu"), show="none")
    assert torch.equal(before, model.layers[0].weight)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_lower_precision_learns_too(precision):
    """16-mixed needs a GPU: on a CPU Fabric takes bf16-mixed in its place, and says so."""
    dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
    weights, result = trained(dtype, precision=precision, steps=60, clip=1.0, accumulate=2)
    assert weights.dtype == dtype
    assert result.history[-1]["loss"] < 0.6 * result.history[0]["loss"]


def test_a_scaled_loss_is_unscaled_before_it_is_clipped(monkeypatch):
    """16-mixed's gradient scaler, on a CPU in single precision. Its scale is a power of 2, so nothing may change."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.precision.amp import MixedPrecision

    class Scaled(MixedPrecision):
        def forward_context(self):
            return nullcontext()

        def convert_input(self, data):
            return data

    expected, _ = trained(clip=0.3, accumulate=2)
    plugin = Scaled("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    monkeypatch.setattr(parallel, "launch", lambda config: Fabric(accelerator="cpu", devices=1, plugins=[plugin]))
    scaled, _ = trained(clip=0.3, accumulate=2)
    assert plugin.scaler is not None and plugin.scaler.get_scale() == 2.0**16
    assert (scaled - expected).abs().max() < 1e-6

    plugin.scaler.load_state_dict(plugin.scaler.state_dict() | {"scale": 2.0**127})
    steep = Task(Plain(), Still(torch.float32), lambda model, batch: (1000 * loss(model, batch)[0], len(batch[0])))
    norms = [row["norm"] for row in fit(steep, TrainConfig(steps=20, batch=8, accelerator="cpu"), show="none").history]
    assert not math.isfinite(norms[0]) and math.isfinite(norms[-1])  # skipped until the scale has fallen enough


def test_compiled_code_gives_the_same(traced):
    expected, _ = trained()
    weights, _ = trained(compile=True)
    assert traced and (weights - expected).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda total, n: total, "returned a tensor of shape ()"),
        (lambda total, n: (total.expand(2), n), "returned (a tensor of shape (2,), int)"),
        (lambda total, n: (float(total.detach()), n), "returned (float, int)"),
    ],
)
def test_a_loss_of_another_form_is_refused(returned, said):
    task = Task(Plain(), Still(torch.float32), lambda model, batch: returned(loss(model, batch)[0], 8))
    with pytest.raises(TypeError, match="must return \\(total, count\\)") as caught:
        fit(task, TrainConfig(steps=1, accelerator="cpu"), show="none")
    assert said in str(caught.value)


def test_a_batch_in_which_nothing_counts_is_refused():
    task = Task(Plain(), Still(torch.float32), lambda model, batch: (loss(model, batch)[0], 0))
    with pytest.raises(ValueError, match="Step 1: the loss counted nothing"):
        fit(task, TrainConfig(steps=1, accelerator="cpu"), show="none")


def test_settings_that_this_machine_cannot_serve_are_refused():
    task = Task(Plain(), TensorExamples(torch.zeros(4, 4)), loss)
    config = TrainConfig(steps=1, accelerator="cpu")
    with pytest.raises(ConfigError, match="accelerator='zpu'"):
        fit(task, replace(config, accelerator="zpu"), show="none")
    with pytest.raises(ConfigError, match="strategy='fsdp' cannot use precision='16-mixed'"):
        fit(task, replace(config, strategy="fsdp", precision="16-mixed"), show="none")
    with pytest.raises(ConfigError, match="show='all' is not known"):
        fit(task, config, show="all")  # type: ignore[arg-type]
