"""Checks of 42_transformer on what training needs: the three masks and the warm-up."""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.tokens.vocabulary import PAD

LESSON = "of 42_transformer"

# 42.2 -----------------------------------------------------------------------------------------------------------------


def three_masks(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (B, S), T = source.shape, target.shape[1]
    real = (source != PAD)[:, None, :]
    return real.expand(B, S, S), torch.ones(T, T, dtype=torch.bool).tril(), real.expand(B, T, S)


def _masks_by_loops(source, target):
    (B, S), T = source.shape, target.shape[1]
    encoder = torch.tensor([[[bool(source[b, k] != PAD) for k in range(S)] for _ in range(S)] for b in range(B)])
    cross = torch.tensor([[[bool(source[b, k] != PAD) for k in range(S)] for _ in range(T)] for b in range(B)])
    return encoder, torch.tensor([[k <= q for k in range(T)] for q in range(T)]), cross


def _inverted(source, target):
    return tuple(~mask for mask in three_masks(source, target))


def _sees_the_future(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder, torch.ones_like(decoder), cross


def _sees_only_the_future(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder, decoder.T.contiguous(), cross


def _blind_to_itself(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder, decoder.tril(-1), cross


def _one_too_far(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder, torch.ones_like(decoder).tril(1), cross


def _padding_attended(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return torch.ones_like(encoder), decoder, torch.ones_like(cross)


def _cross_attends_padding(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder, decoder, torch.ones_like(cross)


def _cross_of_the_target(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder, decoder, (target != PAD)[:, :, None].expand_as(cross)


def _queries_masked(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder.mT, decoder, cross


def _causal_encoder(source, target):
    encoder, decoder, cross = three_masks(source, target)
    return encoder & torch.ones_like(encoder[0]).tril(), decoder, cross


def _padded_case(rng: Generator) -> tuple:
    B, S, T = 3, int(rng.integers(4, 7)), int(rng.integers(2, 4))
    source = torch.from_numpy(rng.integers(3, 9, (B, S)))
    source[torch.arange(S) >= torch.tensor([S, 2, int(rng.integers(1, S))])[:, None]] = PAD
    target = torch.from_numpy(rng.integers(3, 9, (B, T)))
    target[1, -1] = PAD
    return source, target


# 42.5 -----------------------------------------------------------------------------------------------------------------


def rate(step: int, d_model: int, warmup: int) -> float:
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def _rate_by_cases(step, d_model, warmup):
    peak = 1 / (d_model * warmup) ** 0.5
    return peak * step / warmup if step < warmup else peak * (warmup / step) ** 0.5


def _rate_max(step, d_model, warmup):
    return d_model**-0.5 * max(step**-0.5, step * warmup**-1.5)


def _rate_without_width(step, d_model, warmup):
    return min(step**-0.5, step * warmup**-1.5)


def _rate_wider_is_faster(step, d_model, warmup):
    return d_model**0.5 * min(step**-0.5, step * warmup**-1.5)


def _rate_only_falls(step, d_model, warmup):
    return d_model**-0.5 * step**-0.5


def _rate_only_climbs(step, d_model, warmup):
    return d_model**-0.5 * step * warmup**-1.5


def _rate_stays(step, d_model, warmup):
    return d_model**-0.5 * min(warmup**-0.5, step * warmup**-1.5)


def _rate_wrong_slope(step, d_model, warmup):
    return d_model**-0.5 * min(step**-0.5, step * warmup**-0.5)


def _rate_falls_like_the_step(step, d_model, warmup):
    return d_model**-0.5 * min(warmup**0.5 / step, step * warmup**-1.5)


def _step_case(rng: Generator) -> tuple:
    return int(rng.integers(1, 9_000)), int(rng.integers(16, 1024)), int(rng.integers(100, 5_000))


EXERCISES = [
    Exercise(
        "42.2",
        "Three masks",
        minutes=15,
        difficulty=2,
        reference=three_masks,
        cases=[_padded_case, Case("no padding, one row", torch.tensor([[5, 6, 7]]), torch.tensor([[4, 8]]))],
        misconceptions=[
            Misconception(
                "inverts the masks",
                _inverted,
                why="True means *may attend* in this course (and in PyTorch's scaled_dot_product_attention; in "
                "nn.Transformer it is the other way round).",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "lets the decoder see the future",
                _sees_the_future,
                why="Each position would read the very piece that it is to predict. The loss falls to nothing, and the "
                "model cannot write: alone, there is no future to read.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "lets the decoder see the future alone",
                _sees_only_the_future,
                why="Rows are queries, columns are keys: query q may attend to keys up to q, the lower triangle.",
                look="Section 4 of 41_attention, 'Masks: who may look where'",
            ),
            Misconception(
                "hides each position of the decoder from itself",
                _blind_to_itself,
                why="The inputs are shifted already: position t reads piece t and is to say piece t + 1. And the first "
                "position would have nothing to attend to.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "lets the decoder look one step ahead",
                _one_too_far,
                why="One step ahead stands the answer.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "attends to padding",
                _padding_attended,
                why="What a row of the batch gets would then depend on how long the other rows are.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "attends to padding in cross-attention",
                _cross_attends_padding,
                why="The keys of cross-attention are the source's positions, and some of those are padding. The "
                "encoder's mask does not help there: the memory has a vector at each position.",
                look=f"Section 6 {LESSON}",
            ),
            Misconception(
                "masks cross-attention by the padding of the target",
                _cross_of_the_target,
                why="A mask is about keys, and the keys of cross-attention come from the source.",
                look=f"Section 4 {LESSON}",
            ),
            Misconception(
                "hides queries instead of keys in the encoder",
                _queries_masked,
                why="Nobody reads what a query at a padded place gets. It is the *keys* there that must not be read.",
                look="Section 4 of 41_attention, 'Masks: who may look where'",
            ),
            Misconception(
                "makes the encoder causal",
                _causal_encoder,
                why="The source is known in full: every position may see what comes after it.",
                look=f"Section 1 {LESSON}",
            ),
        ],
        hints=(
            "For each of the three: whose positions are the queries, and whose the keys?",
            "`source != PAD` has the shape (B, S). [:, None, :] makes keys of it; expand stretches it over queries.",
            "real = (source != PAD)[:, None, :]; real.expand(B, S, S), torch.ones(T, T, dtype=torch.bool).tril(), ...",
        ),
        alternatives=[_masks_by_loops],
        names=("source", "target"),
    ),
    Exercise(
        "42.5",
        "Warm-up",
        minutes=10,
        difficulty=1,
        reference=rate,
        cases=[_step_case, Case("at the peak", 400, 64, 400), Case("the first step", 1, 512, 4000)],
        misconceptions=[
            Misconception(
                "takes the larger of the two",
                _rate_max,
                why="The smaller one: the line is the smaller before step w, the falling root behind it.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "forgets the width",
                _rate_without_width,
                why="A wider model gets a smaller rate: the factor is one over the root of the width.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "gives a wider model a larger rate",
                _rate_wider_is_faster,
                why="The exponent of the width is -1/2.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "has no warm-up",
                _rate_only_falls,
                why="The first steps would be the largest, when Adam knows least.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "never falls",
                _rate_only_climbs,
                why="Behind step w the rate falls like one over the root of the step.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "stays at the peak",
                _rate_stays,
                why="Behind step w the rate falls like one over the root of the step, not of w.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "climbs too steeply",
                _rate_wrong_slope,
                why="At step w both terms must be equal, w to the power -1/2: the slope is w to the power -3/2.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
            Misconception(
                "falls like one over the step",
                _rate_falls_like_the_step,
                why="It falls like one over the *root* of the step, which is much slower.",
                look=f"Section 6 {LESSON}, 'Warm-up'",
            ),
        ],
        hints=(
            "Two terms, one that climbs and one that falls. Which counts before step w?",
            "min(step to the power -0.5, step times warmup to the power -1.5), and the width outside.",
            "d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)",
        ),
        alternatives=[_rate_by_cases],
        names=("step", "d_model", "warmup"),
    ),
]
