"""Checks of 14_training_craft, first part: the pieces of a training loop."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

# --- 14.1 Kaiming initialisation ---------------------------------------------------------------------------------


def _kaiming(noise: Tensor) -> Tensor:
    return noise * math.sqrt(2 / noise.shape[1])


def _scaled(scale: Callable[[int, int], float]) -> Callable[[Tensor], Tensor]:
    """An initialisation that multiplies noise (d_out, d_in) by scale(d_out, d_in)."""
    return lambda noise: noise * scale(*noise.shape)


def _random_layer(rng: np.random.Generator) -> tuple[Tensor]:
    d_out, d_in = rng.choice(np.arange(3, 60), size=2, replace=False)
    return (torch.from_numpy(rng.standard_normal((d_out, d_in))),)


# --- 14.2 Warm-up and cosine -------------------------------------------------------------------------------------


def _schedule(step: int, total: int, warmup: int, peak: float, floor: float) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / (total - warmup))
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _schedule_other(
    ramp: Callable[[int, int], float] = lambda step, warmup: (step + 1) / warmup,
    progress: Callable[[int, int, int], float] = lambda step, total, warmup: (step - warmup) / (total - warmup),
    clamp: bool = True,
    angle: float = math.pi,
    use_floor: bool = True,
) -> Callable[..., float]:
    """The schedule with one part of it replaced."""

    def schedule(step: int, total: int, warmup: int, peak: float, floor: float) -> float:
        if step < warmup:
            return peak * ramp(step, warmup)
        done = min(1.0, progress(step, total, warmup)) if clamp else progress(step, total, warmup)
        low = floor if use_floor else 0.0
        return low + (peak - low) * 0.5 * (1 + math.cos(angle * done))

    return schedule


def _random_step(rng: np.random.Generator) -> tuple[int, int, int, float, float]:
    total = int(rng.integers(40, 200))
    warmup = int(rng.integers(4, total // 3))
    peak = float(rng.uniform(0.1, 1.0))
    return int(rng.integers(0, total)), total, warmup, peak, peak * float(rng.uniform(0.05, 0.3))


# --- 14.3 One step of AdamW --------------------------------------------------------------------------------------


def _adamw(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, beta1: float, beta2: float, eps: float, decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return p - lr * (m_hat / (v_hat.sqrt() + eps) + decay * p), m, v


def _adamw_shrinks_first(p, g, m, v, t, lr, beta1, beta2, eps, decay):
    """PyTorch's order: the weights shrink, then the step is taken."""
    m = torch.lerp(m, g, 1 - beta1)
    v = beta2 * v + (1 - beta2) * g * g
    root = v.sqrt() / math.sqrt(1 - beta2**t)
    return p * (1 - lr * decay) - lr / (1 - beta1**t) * m / (root + eps), m, v


def _adamw_other(correct: bool = True, eps_inside: bool = False, decay_in: str = "step") -> Callable[..., tuple]:
    """AdamW with one mistake. decay_in: step (right), gradient (plain Adam with L2), bare (not scaled by lr)."""

    def step(p, g, m, v, t, lr, beta1, beta2, eps, decay):
        g = g + decay * p if decay_in == "gradient" else g
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if correct else (m, v)
        move = m_hat / ((v_hat + eps).sqrt() if eps_inside else v_hat.sqrt() + eps)
        shrink = {"step": lr * decay, "gradient": 0.0, "bare": decay}[decay_in]
        return p - lr * move - shrink * p, m, v

    return step


def _random_update(rng: np.random.Generator) -> tuple:
    p, g, m = (torch.from_numpy(rng.standard_normal((2, 3))) for _ in range(3))
    v = torch.from_numpy(rng.uniform(0.1, 1.0, (2, 3)))
    t, lr, decay = int(rng.integers(2, 20)), float(rng.uniform(0.01, 0.1)), float(rng.uniform(0.05, 0.2))
    return p, g, m, v, t, lr, 0.9, 0.99, float(rng.uniform(0.01, 0.05)), decay


def _first_update(rng: np.random.Generator) -> tuple:
    p, g = (torch.from_numpy(rng.standard_normal(4)) for _ in range(2))
    return p, g, torch.zeros(4).double(), torch.zeros(4).double(), 1, 0.01, 0.9, 0.999, 1e-8, 0.1


# --- 14.4 Batch normalisation ------------------------------------------------------------------------------------


def _batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, training: bool, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    if training:
        mu, sigma2 = x.mean(0), x.var(0, correction=0)
        mean = (1 - momentum) * mean + momentum * mu
        var = (1 - momentum) * var + momentum * x.var(0, correction=1)
    else:
        mu, sigma2 = mean, var
    return gamma * (x - mu) / (sigma2 + eps).sqrt() + beta, mean, var


def _batch_norm_torch(x, gamma, beta, mean, var, training, momentum, eps):
    """PyTorch's own, on copies because it updates the averages in place."""
    mean, var = mean.clone(), var.clone()
    return torch.nn.functional.batch_norm(x, mean, var, gamma, beta, training, momentum, eps), mean, var


def _batch_norm_other(
    axis: int = 0, correction: int = 0, kept: int = 1, swap: bool = False, ever_eval: bool = True
) -> Callable[..., tuple]:
    """Batch normalisation with one mistake: the axis, either variance, the averages' weights, evaluation."""

    def normalise(x, gamma, beta, mean, var, training, momentum, eps):
        new = 1 - momentum if swap else momentum
        use_batch = training or not ever_eval
        mu = x.mean(axis, keepdim=True) if use_batch else mean
        sigma2 = x.var(axis, correction=correction, keepdim=True) if use_batch else var
        if training:
            mean = (1 - new) * mean + new * x.mean(0)
            var = (1 - new) * var + new * x.var(0, correction=kept)
        return gamma * (x - mu) / (sigma2 + eps).sqrt() + beta, mean, var

    return normalise


def _batch(rng: np.random.Generator, n: int, training: bool) -> tuple:
    d = int(rng.integers(3, 6))
    x = torch.from_numpy(rng.normal(2.0, 3.0, (n, d)))
    gamma, beta, mean = (torch.from_numpy(rng.standard_normal(d)) for _ in range(3))
    return x, gamma, beta, mean, torch.from_numpy(rng.uniform(0.5, 2.0, d)), training, 0.1, 1e-5


def _training_batch(rng: np.random.Generator) -> tuple:
    return _batch(rng, int(rng.integers(7, 12)), training=True)


def _evaluation_batch(rng: np.random.Generator) -> tuple:
    return _batch(rng, int(rng.integers(7, 12)), training=False)


_one = torch.ones(3).double()
_constant = torch.tensor([[1.0, 5.0, 2.0], [2.0, 5.0, 4.0], [4.0, 5.0, 3.0], [0.0, 5.0, 9.0]]).double()

LESSON = "of 14_training_craft"

EXERCISES = [
    Exercise(
        "14.1",
        "Kaiming initialisation",
        minutes=8,
        difficulty=1,
        reference=_kaiming,
        cases=[
            _random_layer,
            Case("one input", torch.tensor([[1.0], [-2.0], [0.5]]).double()),
            Case("one output", torch.tensor([[1.0, -2.0, 0.5, 0.25, 3.0]]).double()),
        ],
        misconceptions=[
            Misconception(
                "multiplies by the variance 2 / fan_in instead of its square root",
                _scaled(lambda d_out, d_in: 2 / d_in),
                why="Noise times c has the standard deviation c and the variance c². For the variance 2 / fan_in, c "
                "is the square root of it. Without the root the weights are far too small and the signal fades.",
                look=f"Section 3 {LESSON}, 'What keeps the signal alive'",
            ),
            Misconception(
                "takes fan_out, the number of outputs, for fan_in",
                _scaled(lambda d_out, d_in: math.sqrt(2 / d_out)),
                why="Each output is a sum over the inputs, so the number of terms is fan_in. PyTorch stores weights as "
                "(d_out, d_in): fan_in is the second axis.",
                look=f"Section 3 {LESSON}, 'What keeps the signal alive'",
            ),
            Misconception(
                "leaves out the 2, which is Xavier's rule and not Kaiming's",
                _scaled(lambda d_out, d_in: math.sqrt(1 / d_in)),
                why="ReLU sets half of the values to zero, which halves the mean square of the signal in each layer. "
                "The 2 makes up for it.",
                look=f"Section 3 {LESSON}, the picture of the six starts",
            ),
            Misconception(
                "uses sqrt(6 / fan_in), which is the bound of the uniform version",
                _scaled(lambda d_out, d_in: math.sqrt(6 / d_in)),
                why="Uniform numbers between -a and a have the variance a² / 3, hence the 6 there. The noise here is "
                "normal with standard deviation 1 and needs no such factor.",
                look=f"Section 3 {LESSON}, 'What keeps the signal alive'",
            ),
        ],
        hints=(
            "Which axis of `noise` counts the terms of the sum that makes one output?",
            "The noise has standard deviation 1. Multiply it by the standard deviation that you want: the root of 2 / "
            "fan_in.",
            "`fan_in = noise.shape[1]`, then `noise * (2 / fan_in) ** 0.5`.",
        ),
        alternatives=[lambda noise: noise / (noise.shape[-1] / 2) ** 0.5],
    ),
    Exercise(
        "14.2",
        "Warm-up and cosine",
        minutes=12,
        difficulty=2,
        reference=_schedule,
        cases=[
            _random_step,
            Case("the very first step", 0, 100, 10, 0.5, 0.05),
            Case("the last step of the warm-up", 9, 100, 10, 0.5, 0.05),
            Case("the first step after the warm-up", 10, 100, 10, 0.5, 0.05),
            Case("half-way down", 55, 100, 10, 0.5, 0.05),
            Case("the last step", 99, 100, 10, 0.5, 0.05),
            Case("a step after the end", 130, 100, 10, 0.5, 0.05),
            Case("no warm-up", 0, 20, 0, 0.3, 0.0),
        ],
        misconceptions=[
            Misconception(
                "starts the warm-up at a learning rate of 0",
                _schedule_other(ramp=lambda step, warmup: step / warmup),
                why="Steps are counted from 0. With step / warmup the first step has the learning rate 0 and is "
                "wasted, and the ramp ends one step before the peak. The parts are (step + 1) / warmup.",
                look=f"Section 6 {LESSON}, the table of the first steps",
            ),
            Misconception(
                "lets the cosine run from step 0 instead of from the end of the warm-up",
                _schedule_other(progress=lambda step, total, warmup: step / total),
                why="The cosine has total - warmup steps and starts when the warm-up is over. Counted from 0, the "
                "learning rate jumps down at the end of the warm-up.",
                look=f"Section 6 {LESSON}, 'The cosine'",
            ),
            Misconception(
                "leaves out π in the cosine",
                _schedule_other(angle=1.0),
                why="cos falls from 1 to -1 as its angle goes from 0 to π. Without π the angle stops at 1 radian, and "
                "the learning rate ends at three quarters of the peak.",
                look=f"Section 6 {LESSON}, 'The cosine'",
            ),
            Misconception(
                "falls to 0 instead of to the floor",
                _schedule_other(use_floor=False),
                why="The cosine goes from peak down to floor, so only the part peak - floor is multiplied by it, and "
                "floor is added.",
                look=f"Section 6 {LESSON}, 'The cosine'",
            ),
            Misconception(
                "lets the learning rate rise again after the last step",
                _schedule_other(clamp=False),
                why="After the end the progress is above 1 and the cosine comes back up. A run that is continued a "
                "little would suddenly train hard again. Limit the progress to 1.",
                look=f"Section 6 {LESSON}, 'The cosine'",
            ),
        ],
        hints=(
            "Two regimes: what is the learning rate while step < warmup, and how far is the cosine when step = warmup?",
            "After the warm-up, let progress go from 0 (at step = warmup) to 1 (at step = total), and no further.",
            "`floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * progress))`, and before that `peak * (step + 1) "
            "/ warmup`.",
        ),
        alternatives=[
            lambda step, total, warmup, peak, floor: (
                peak * (step + 1) / warmup
                if step < warmup
                else floor + (peak - floor) * math.cos(math.pi / 2 * min((step - warmup) / (total - warmup), 1)) ** 2
            )
        ],
    ),
    Exercise(
        "14.3",
        "One step of AdamW",
        minutes=15,
        difficulty=2,
        reference=_adamw,
        cases=[_random_update, _first_update],
        misconceptions=[
            Misconception(
                "leaves out the bias correction",
                _adamw_other(correct=False),
                why="m and v start at 0, so in the first steps they are too small: after one step m is 0.1 g, and v "
                "is 0.001 g². Dividing by 1 - beta**t undoes exactly that.",
                look=f"Section 4 {LESSON}, 'Adam, piece by piece'",
            ),
            Misconception(
                "adds eps inside the square root",
                _adamw_other(eps_inside=True),
                why="eps is added after the root: sqrt(v_hat) + eps. Inside, its effect is sqrt(eps): 1e-8 becomes "
                "1e-4, large enough to slow down every parameter with a small gradient.",
                look=f"Section 4 {LESSON}, 'Adam, piece by piece'",
            ),
            Misconception(
                "adds the weight decay to the gradient, which is Adam with an L2 penalty and not AdamW",
                _adamw_other(decay_in="gradient"),
                why="In the gradient the decay is divided by sqrt(v_hat) like everything else, so parameters with "
                "large gradients hardly shrink. AdamW shrinks p directly, next to the step: that is the W.",
                look=f"Section 4 {LESSON}, 'The W in AdamW'",
            ),
            Misconception(
                "shrinks the weights by decay instead of by lr times decay",
                _adamw_other(decay_in="bare"),
                why="The decay is a part of the step, so the learning rate multiplies it too; otherwise a schedule "
                "that lowers lr would leave the shrinking at full strength.",
                look=f"Section 4 {LESSON}, 'The W in AdamW'",
            ),
        ],
        hints=(
            "Write the lines in this order: new m, new v, both corrected, then the new p. Which of them uses `decay`?",
            "m and v are running averages of g and of g². Divide them by 1 - beta**t for use in the step, but return "
            "them uncorrected.",
            "The step is `lr * (m_hat / (v_hat.sqrt() + eps) + decay * p)`, with the p from before the step.",
        ),
        alternatives=[_adamw_shrinks_first],
    ),
    Exercise(
        "14.4",
        "Batch normalisation",
        minutes=15,
        difficulty=2,
        reference=_batch_norm,
        cases=[
            _training_batch,
            _evaluation_batch,
            Case("one image in evaluation", _constant[:1], _one, 0 * _one, _one, 4 * _one, False, 0.1, 1e-5),
            Case("a feature that never changes", _constant, 2 * _one, _one, 0 * _one, _one, True, 0.25, 1e-5),
        ],
        misconceptions=[
            Misconception(
                "takes the mean and the variance over the features of each example, which is layer normalisation",
                _batch_norm_other(axis=1),
                why="Batch normalisation treats each feature alone and averages over the examples of the batch: axis "
                "0.",
                look=f"Section 8 {LESSON}, the drawing of the two axes",
            ),
            Misconception(
                "normalises with the variance divided by n - 1",
                _batch_norm_other(correction=1),
                why="`Tensor.var` divides by n - 1 unless you say correction=0. The batch in hand is everything that "
                "is normalised, so its own mean square, divided by n, is the one that gives exactly 1.",
                look=f"Section 8 {LESSON}, 'By hand'",
            ),
            Misconception(
                "keeps the variance divided by n in the running average",
                _batch_norm_other(kept=0),
                why="The running variance stands for images not seen yet, so the unbiased estimate, divided by n - 1, "
                "goes into it. With n = 8 the other one is an eighth too small.",
                look=f"Section 8 {LESSON}, 'What evaluation uses'",
            ),
            Misconception(
                "gives the new batch the weight 1 - momentum",
                _batch_norm_other(swap=True),
                why="In PyTorch's batch normalisation `momentum` is the weight of the new batch: "
                "(1 - momentum) * old + momentum * new. In optimizers the word means the weight of the old.",
                look=f"Section 8 {LESSON}, 'What evaluation uses'",
            ),
            Misconception(
                "normalises with the batch's own statistics in evaluation too",
                _batch_norm_other(ever_eval=False),
                why="In evaluation the answer for one image must not depend on which other images are in its batch. "
                "Use the running mean and variance there.",
                look=f"Section 8 {LESSON}, 'What evaluation uses'",
            ),
        ],
        hints=(
            "Where do the mean and the variance come from in training, and where in evaluation? Only one of them "
            "changes the averages.",
            "Two variances: divide by n to normalise (`correction=0`), by n - 1 for the running average "
            "(`correction=1`).",
            "In training: `mean = (1 - momentum) * mean + momentum * x.mean(0)`, the same for `var`; then "
            "`gamma * (x - mu) / (sigma2 + eps).sqrt() + beta`.",
        ),
        alternatives=[_batch_norm_torch],
    ),
]
