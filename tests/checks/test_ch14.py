"""The references of chapter 14 against PyTorch's own, and the facts that the harness of the last loop reports."""

import math

import pytest
import torch
from torch import nn

from lib.checks.ch14_broken_epochs import _shuffling, _use_shuffling
from lib.checks.ch14_training_craft import _adamw, _batch_norm, _kaiming, _schedule


def test_kaiming_is_what_torch_draws():
    noise, theirs = torch.randn(300, 200).double(), torch.empty(300, 200).double()
    torch.manual_seed(0)
    nn.init.kaiming_normal_(theirs, nonlinearity="relu")
    torch.manual_seed(0)
    assert torch.allclose(_kaiming(noise.normal_()), theirs, rtol=1e-12)


@pytest.mark.parametrize(("warmup", "floor"), [(2, 0.0), (7, 0.03)])
def test_schedule_is_torch_s_pieces_joined(warmup, floor):
    total, peak = 40, 0.5
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    rise = torch.optim.lr_scheduler.LinearLR(opt, 1 / warmup, 1.0, warmup - 1)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(opt, total - warmup, eta_min=floor)
    joined = torch.optim.lr_scheduler.SequentialLR(opt, [rise, fall], [warmup])
    for step in range(total):
        assert math.isclose(opt.param_groups[0]["lr"], _schedule(step, total, warmup, peak, floor), rel_tol=1e-9)
        opt.step()
        joined.step()


def test_adamw_is_torch_s_over_many_steps():
    torch.manual_seed(0)
    p = torch.randn(2, 3).double()
    theirs, m, v = nn.Parameter(p.clone()), torch.zeros_like(p), torch.zeros_like(p)
    optimizer = torch.optim.AdamW([theirs], lr=0.03, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2)
    for t in range(1, 30):
        theirs.grad = torch.randn(2, 3).double()
        p, m, v = _adamw(p, theirs.grad, m, v, t, 0.03, 0.8, 0.95, 1e-3, 0.2)
        optimizer.step()
        assert torch.allclose(p, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_batch_norm_is_torch_s_through_training_and_evaluation():
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(4, momentum=0.3).double()
    nn.init.normal_(layer.weight, std=0.2)
    nn.init.normal_(layer.bias, std=0.2)
    mean, var = torch.zeros(4).double(), torch.ones(4).double()
    for training in (True, True, False, True, False):
        x = 3 + 2 * torch.randn(9, 4).double()
        y, mean, var = _batch_norm(x, layer.weight, layer.bias, mean, var, training, 0.3, layer.eps)
        assert torch.allclose(y, layer.train(training)(x), rtol=1e-12, atol=1e-12)
        assert torch.allclose(mean, layer.running_mean) and torch.allclose(var, layer.running_var)


@pytest.mark.parametrize(
    ("how", "false"),
    [
        ("together", set()),
        ("x only", {"first", "later", "leave"}),
        ("apart", {"first", "later"}),
        ("half", {"later"}),
        ("never", {"new order", "leave"}),
        ("once", {"new order"}),
    ],
)
def test_the_harness_says_what_is_wrong_with_a_shuffle(how, false):
    facts = {k: v for k, v in _use_shuffling(_shuffling(how), 30, 3, 7, 0).items() if isinstance(v, bool)}
    wrong = {k for k, v in facts.items() if not v}
    assert len(wrong) == len(false)
    assert all(any(word in k for k in wrong) for word in false)
