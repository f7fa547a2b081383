"""Checks of 22_seeing_inside on pushing an image: one step up the loss, and several towards a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception
from lib.checks.ch22_inside import net_case, small_net

LOOK_PUSH = "Section 13 of 22_seeing_inside, 'A small push'"
LOOK_TARGET = "Section 14 of 22_seeing_inside, 'Anything you like, and for other networks too'"


# 22.6 -----------------------------------------------------------------------------------------------------------------


def _loss_gradient(net, x, y):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(net(x), y, reduction="sum"), x)[0]


def fgsm(net, x, y, eps, mean, std):
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(net((x - mean) / std), y)
    g = torch.autograd.grad(loss, x)[0]
    return (x.detach() + eps * g.sign()).clamp(0, 1)


def _pixel_slope(net, x, y, mean, std):
    return _loss_gradient(lambda z: net((z - mean) / std), x, y)


def _fgsm_where(net, x, y, eps, mean, std):
    g = _pixel_slope(net, x, y, mean, std)
    pushed = torch.where(g > 0, x + eps, torch.where(g < 0, x - eps, x))
    return pushed.minimum(torch.ones_like(x)).maximum(torch.zeros_like(x))


def _fgsm_down(net, x, y, eps, mean, std):
    return (x - eps * _pixel_slope(net, x, y, mean, std).sign()).clamp(0, 1)


def _fgsm_no_sign(net, x, y, eps, mean, std):
    return (x + eps * _pixel_slope(net, x, y, mean, std) / len(x)).clamp(0, 1)


def _fgsm_unit(net, x, y, eps, mean, std):
    g = _pixel_slope(net, x, y, mean, std)
    return (x + eps * g / g.flatten(1).norm(dim=1)[:, None, None, None]).clamp(0, 1)


def _fgsm_standardised(net, x, y, eps, mean, std):
    z = (x - mean) / std
    return ((z + eps * _loss_gradient(net, z, y).sign()) * std + mean).clamp(0, 1)


def _fgsm_raw(net, x, y, eps, mean, std):
    return (x + eps * _loss_gradient(net, x, y).sign()).clamp(0, 1)


def _fgsm_returns_standardised(net, x, y, eps, mean, std):
    return (fgsm(net, x, y, eps, mean, std) - mean) / std


def _fgsm_no_clamp(net, x, y, eps, mean, std):
    return x + eps * _pixel_slope(net, x, y, mean, std).sign()


def _fgsm_push_alone(net, x, y, eps, mean, std):
    return eps * _pixel_slope(net, x, y, mean, std).sign()


def _fgsm_logit(net, x, y, eps, mean, std):
    z = x.detach().clone().requires_grad_()
    chosen = net((z - mean) / std).gather(1, y[:, None]).sum()
    return (x - eps * torch.autograd.grad(chosen, z)[0].sign()).clamp(0, 1)


_MEAN = torch.tensor([0.5, 0.45, 0.4], dtype=torch.float64)[:, None, None]
_STD = torch.tensor([0.25, 0.2, 0.3], dtype=torch.float64)[:, None, None]


def _fgsm_marks_x(net, x, y, eps, mean, std):
    x.requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(net((x - mean) / std), y), x)[0]
    return (x.detach() + eps * g.sign()).clamp(0, 1)


def _report(pushed: Any, x: Tensor) -> dict[str, Any]:
    return {"the pushed images": pushed, "x asks for gradients afterwards": x.requires_grad}


def _run_fgsm(answer: Callable, kernels: Tensor, weight: Tensor, x: Tensor, y: Tensor, eps: float) -> dict[str, Any]:
    x = x.clone()
    return _report(answer(small_net(kernels, weight), x, y.clone(), eps, _MEAN.clone(), _STD.clone()), x)


def _blind(case: tuple) -> tuple:
    """The case, for a network that does not look at green: there the gradient is exactly 0."""
    kernels = case[0].clone()
    kernels[:, 1] = 0
    return kernels, *case[1:]


def _fgsm_case(rng: Generator) -> tuple:
    return *net_case(rng), float(rng.uniform(0.02, 0.1))


def _fgsm_blind_case(rng: Generator) -> tuple:
    return _blind(_fgsm_case(rng))


# 22.7 -----------------------------------------------------------------------------------------------------------------


def towards(net, x, target, eps, step, n_steps):
    z = x
    for _ in range(n_steps):
        z = z.detach().requires_grad_()
        g = torch.autograd.grad(F.cross_entropy(net(z), target), z)[0]
        z = z.detach() - step * g.sign()
        z = torch.minimum(torch.maximum(z, x - eps), x + eps).clamp(0, 1)
    return z


def _towards_push(net, x, target, eps, step, n_steps):
    push = torch.zeros_like(x)
    for _ in range(n_steps):
        push = (push - step * _loss_gradient(net, x + push, target).sign()).clamp(-eps, eps)
        push = (x + push).clamp(0, 1) - x
    return x + push


def _walk(net, x, target, n_steps, step, back: Callable = lambda z, last: z):
    """n_steps down the loss of the target by `step`; after each, `back(z, last)` where z came from `last`."""
    z = x
    for _ in range(n_steps):
        last = z
        z = back(z - step * _loss_gradient(net, z, target).sign(), last)
    return z


def _box(z, x, eps):
    return torch.minimum(torch.maximum(z, x - eps), x + eps)


def _towards_up(net, x, target, eps, step, n_steps):
    return _walk(net, x, target, n_steps, -step, lambda z, last: _box(z, x, eps).clamp(0, 1))


def _towards_no_box(net, x, target, eps, step, n_steps):
    return _walk(net, x, target, n_steps, step, lambda z, last: z.clamp(0, 1))


def _towards_moving_box(net, x, target, eps, step, n_steps):
    return _walk(net, x, target, n_steps, step, lambda z, last: _box(z, last, eps).clamp(0, 1))


def _towards_box_at_end(net, x, target, eps, step, n_steps):
    return _box(_walk(net, x, target, n_steps, step), x, eps).clamp(0, 1)


def _towards_no_clamp(net, x, target, eps, step, n_steps):
    return _walk(net, x, target, n_steps, step, lambda z, last: _box(z, x, eps))


def _towards_same_gradient(net, x, target, eps, step, n_steps):
    z, g = x, _loss_gradient(net, x, target).sign()
    for _ in range(n_steps):
        z = _box(z - step * g, x, eps).clamp(0, 1)
    return z


def _towards_restarts(net, x, target, eps, step, n_steps):
    z = x
    for _ in range(n_steps):
        z = _box(x - step * _loss_gradient(net, z, target).sign(), x, eps).clamp(0, 1)
    return z


def _towards_no_sign(net, x, target, eps, step, n_steps):
    z = x
    for _ in range(n_steps):
        z = _box(z - step * _loss_gradient(net, z, target) / len(x), x, eps).clamp(0, 1)
    return z


def _towards_one_step(net, x, target, eps, step, n_steps):
    return (x - eps * _loss_gradient(net, x, target).sign()).clamp(0, 1)


def _towards_marks_x(net, x, target, eps, step, n_steps):
    z = x
    for _ in range(n_steps):
        z.requires_grad_()
        g = torch.autograd.grad(F.cross_entropy(net(z), target), z)[0]
        z = _box(z.detach() - step * g.sign(), x.detach(), eps).clamp(0, 1)
    return z


def _run_towards(
    answer: Callable, kernels: Tensor, weight: Tensor, x: Tensor, target: Tensor, *settings: float
) -> dict[str, Any]:
    x = x.clone()
    return _report(answer(small_net(3 * kernels, weight), x, target.clone(), *settings), x)


def _towards_case(rng: Generator) -> tuple:
    eps = float(rng.uniform(0.15, 0.3))
    return *net_case(rng), eps, eps * float(rng.uniform(0.35, 0.45)), int(rng.integers(5, 8))


def _towards_short_case(rng: Generator) -> tuple:
    eps = float(rng.uniform(0.05, 0.1))
    return *net_case(rng), eps, eps * 1.5, 2


def _towards_blind_case(rng: Generator) -> tuple:
    return _blind(_towards_case(rng))


def _towards_inside_case(rng: Generator) -> tuple:
    eps = float(rng.uniform(0.15, 0.3))
    return *net_case(rng), eps, eps * 0.3, 2  # two steps do not reach the box


EXERCISES = [
    Exercise(
        "22.6",
        "One step up the loss",
        minutes=12,
        difficulty=2,
        reference=fgsm,
        use=_run_fgsm,
        cases=[_fgsm_case, _fgsm_blind_case],
        misconceptions=[
            Misconception(
                "goes down the loss",
                _fgsm_down,
                why="Training goes down. An attack wants the network to be wrong: add the sign of the gradient.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "leaves out the sign",
                _fgsm_no_sign,
                why="The gradient's entries are tiny and of all sizes. Within a box the best push uses the full eps "
                "in every pixel, whatever the entry's size.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "scales the gradient to length 1 instead of taking signs",
                _fgsm_unit,
                why="That is the best push of a given *length*. The bound here is on each pixel.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "pushes the standardised image",
                _fgsm_standardised,
                why="A step of eps there is a step of eps times std in pixels: about a quarter of what was meant. "
                "Differentiate through the standardisation, and push the pixels.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "gives raw pixels to the network",
                _fgsm_raw,
                why="The network was trained on (x - mean) / std. On raw pixels it is another function, with another "
                "gradient.",
                look="Section 1 of 22_seeing_inside, 'A network in a file'",
            ),
            Misconception(
                "returns the standardised image",
                _fgsm_returns_standardised,
                why="Pixels came in and pixels must come out. Standardise inside the loss only.",
                look="Section 1 of 22_seeing_inside, 'A network in a file'",
            ),
            Misconception(
                "leaves pixels below 0 or above 1",
                _fgsm_no_clamp,
                why="Such an image cannot be saved or shown. Bring it back with clamp(0, 1).",
                look=LOOK_PUSH,
            ),
            Misconception(
                "returns the push without the image",
                _fgsm_push_alone,
                why="The result is the pushed image: x plus the push.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "lowers the logit of the label instead of raising the loss",
                _fgsm_logit,
                why="The loss also rises when another class gains. Its gradient uses both.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "leaves the caller's x asking for gradients",
                _fgsm_marks_x,
                why="`requires_grad_()` changes the tensor itself. Mark a copy of x, or a detached one.",
                look=LOOK_PUSH,
            ),
        ],
        hints=(
            "As in saliency, a gradient with respect to pixels, but of the loss. Which way, and how far?",
            "x = x.clone().requires_grad_(); loss = F.cross_entropy(net((x - mean) / std), y).",
            "g = torch.autograd.grad(loss, x)[0]; return (x.detach() + eps * g.sign()).clamp(0, 1).",
        ),
        alternatives=[_fgsm_where],
        names=("kernels", "weight", "x", "y", "eps"),
    ),
    Exercise(
        "22.7",
        "Towards a label",
        minutes=16,
        difficulty=3,
        reference=towards,
        use=_run_towards,
        cases=[_towards_case, _towards_blind_case, _towards_short_case, _towards_inside_case],
        misconceptions=[
            Misconception(
                "goes up the loss of the target",
                _towards_up,
                why="That drives the image *away* from the label that you want. A targeted attack goes down the loss "
                "of its target.",
                look=LOOK_TARGET,
            ),
            Misconception(
                "never comes back to the box round x",
                _towards_no_box,
                why="After n steps a pixel may have moved by n times step. No pixel may end up farther than eps from "
                "where it began.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "draws the box round the last image",
                _towards_moving_box,
                why="Then the box walks along, and nothing is bounded. The box stands round the original x.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "comes back to the box only at the end",
                _towards_box_at_end,
                why="The gradients were then taken at images far outside the box, and do not fit the image that is "
                "returned. Come back after each step.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "leaves pixels below 0 or above 1",
                _towards_no_clamp,
                why="Such an image cannot be saved or shown. Two bounds hold after each step: eps round x, and 0 to 1.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "takes the gradient once and uses it for all steps",
                _towards_same_gradient,
                why="Several small steps are better than one because each looks anew where the slope goes.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "starts every step from the original image",
                _towards_restarts,
                why="Each step goes on from where the last one ended: z, not x.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "leaves out the sign",
                _towards_no_sign,
                why="The gradient's entries are tiny and of all sizes. Each step moves every pixel by `step`.",
                look=LOOK_PUSH,
            ),
            Misconception(
                "takes a single step of eps",
                _towards_one_step,
                why="That is the one-step method. Here n_steps steps of size `step` are wanted.",
                look=LOOK_TARGET,
            ),
            Misconception(
                "leaves the caller's x asking for gradients",
                _towards_marks_x,
                why="`requires_grad_()` changes the tensor itself. Mark a copy of x, or a detached one.",
                look=LOOK_PUSH,
            ),
        ],
        hints=(
            "A loop: gradient of the target's loss at z, a step down, back into both bounds.",
            "z = z.detach().requires_grad_(); g = torch.autograd.grad(F.cross_entropy(net(z), target), z)[0]; then "
            "z.detach() - step * g.sign().",
            "z = torch.minimum(torch.maximum(z, x - eps), x + eps).clamp(0, 1), inside the loop.",
        ),
        alternatives=[_towards_push],
        names=("kernels", "weight", "x", "target", "eps", "step", "n_steps"),
    ),
]
