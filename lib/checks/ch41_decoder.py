"""Checks of 41_attention on decoders: a block that sees no future, and a step with a cache."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 41_attention"


def _normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(0, 1, shape))


# 41.7 -----------------------------------------------------------------------------------------------------------------


def _normal_over(x: Tensor, dim) -> Tensor:
    variance = x.var(dim, correction=0, keepdim=True)
    return (x - x.mean(dim, keepdim=True)) / (variance + 1e-5).sqrt()


def _causal(x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x @ wq, x @ wk, x @ wv, is_causal=True)


def block(x: Tensor, wq: Tensor, wk: Tensor, wv: Tensor) -> Tensor:
    return x + _causal(_normal_over(x, -1), wq, wk, wv)


def _block_by_hand(x, wq, wk, wv):
    z = F.layer_norm(x, x.shape[-1:])
    s = (z @ wq) @ (z @ wk).mT / math.sqrt(wq.shape[1])
    ahead = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1)
    return x + s.masked_fill(ahead, -math.inf).softmax(-1) @ (z @ wv)


def _block_over_time(x, wq, wk, wv):
    return x + _causal(_normal_over(x, 1), wq, wk, wv)


def _block_over_both(x, wq, wk, wv):
    return x + _causal(_normal_over(x, (1, 2)), wq, wk, wv)


def _block_over_batch(x, wq, wk, wv):
    return x + _causal(_normal_over(x, (0, 1)), wq, wk, wv)


def _block_over_all(x, wq, wk, wv):
    return x + _causal(_normal_over(x, (0, 1, 2)), wq, wk, wv)


def _block_unbiased(x, wq, wk, wv):
    return x + _causal((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True), wq, wk, wv)


def _block_raw_values(x, wq, wk, wv):
    z = _normal_over(x, -1)
    return x + F.scaled_dot_product_attention(z @ wq, z @ wk, x @ wv, is_causal=True)


def _block_not_normalised(x, wq, wk, wv):
    return x + _causal(x, wq, wk, wv)


def _block_without_mask(x, wq, wk, wv):
    z = _normal_over(x, -1)
    return x + F.scaled_dot_product_attention(z @ wq, z @ wk, z @ wv)


def _block_upper(x, wq, wk, wv):
    z = _normal_over(x, -1)
    allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu()
    return x + F.scaled_dot_product_attention(z @ wq, z @ wk, z @ wv, attn_mask=allowed)


def _block_masked_late(x, wq, wk, wv):
    z = _normal_over(x, -1)
    s = (z @ wq) @ (z @ wk).mT / math.sqrt(wq.shape[1])
    return x + s.softmax(-1).tril() @ (z @ wv)


def _block_no_residual(x, wq, wk, wv):
    return _causal(_normal_over(x, -1), wq, wk, wv)


def _block_residual_normalised(x, wq, wk, wv):
    z = _normal_over(x, -1)
    return z + _causal(z, wq, wk, wv)


def _block_post_norm(x, wq, wk, wv):
    return _normal_over(x + _causal(x, wq, wk, wv), -1)


def _block_unscaled(x, wq, wk, wv):
    return block(x, wq * math.sqrt(wq.shape[1]), wk, wv)


def _block_by_model_width(x, wq, wk, wv):
    return block(x, wq * math.sqrt(wq.shape[1] / x.shape[-1]), wk, wv)


def _block_case(rng: Generator) -> tuple:
    B, T, C, D = int(rng.integers(2, 4)), int(rng.integers(4, 6)), int(rng.integers(7, 10)), 3
    x = 2 * _normal(rng, B, T, C) + 1
    return x, _normal(rng, C, D), _normal(rng, C, D), _normal(rng, C, C)


# 41.8 -----------------------------------------------------------------------------------------------------------------


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def step(q: Tensor, k: Tensor, v: Tensor, cache: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    keys, values = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
    return _attend(q, keys, values), (keys, values)


def _step_sdpa(q, k, v, cache):
    keys, values = (torch.cat(pair, dim=-2) for pair in zip(cache, (k, v), strict=True))
    return F.scaled_dot_product_attention(q, keys, values), (keys, values)


def _step_attends_first(q, k, v, cache):
    _, new = step(q, k, v, cache)
    return _attend(q, *cache), new


def _step_forgets(q, k, v, cache):
    y, _ = step(q, k, v, cache)
    return y, cache


def _step_new_only(q, k, v, cache):
    _, new = step(q, k, v, cache)
    return _attend(q, k, v), new


def _step_in_front(q, k, v, cache):
    y, _ = step(q, k, v, cache)
    return y, (torch.cat((k, cache[0]), dim=2), torch.cat((v, cache[1]), dim=2))


def _step_queries_cached(q, k, v, cache):
    keys, values = torch.cat((cache[0], q), dim=2), torch.cat((cache[1], v), dim=2)
    return _attend(q, keys, values), (keys, values)


def _step_drops_oldest(q, k, v, cache):
    _, (keys, values) = step(q, k, v, cache)
    keys, values = (keys[:, :, 1:], values[:, :, 1:]) if keys.shape[2] > 1 else (keys, values)
    return _attend(q, keys, values), (keys, values)


def _step_over_queries(q, k, v, cache):
    _, (keys, values) = step(q, k, v, cache)
    return (q @ keys.mT / math.sqrt(q.shape[-1])).softmax(-2) @ values, (keys, values)


def _step_unscaled(q, k, v, cache):
    _, new = step(q, k, v, cache)
    return step(q * math.sqrt(q.shape[-1]), k, v, cache)[0], new


def _step_causal_flag(q, k, v, cache):
    _, (keys, values) = step(q, k, v, cache)
    return F.scaled_dot_product_attention(q, keys, values, is_causal=True), (keys, values)


def _step_new_beside(q, k, v, cache):
    """The new value alone joins: keys are forgotten between steps."""
    y, (_, values) = step(q, k, v, cache)
    return y, (cache[0], values)


def _step_case(rng: Generator) -> tuple:
    B, H, S, D = (int(n) for n in rng.integers((1, 2, 2, 4), (3, 4, 6, 7)))
    new = [1.5 * _normal(rng, B, H, 1, width) for width in (D, D, D + 2)]
    return *new, (_normal(rng, B, H, S, D), _normal(rng, B, H, S, D + 2))


EXERCISES = [
    Exercise(
        "41.7",
        "A block without a leak",
        minutes=20,
        difficulty=3,
        reference=block,
        cases=[_block_case],
        misconceptions=[
            Misconception(
                "lets the future leak through the normalisation: it runs over time",
                _block_over_time,
                why="Mean and variance over the positions hold all positions, those ahead too, so an earlier output "
                "changes with a later input; no mask can stop that. Normalise each position over its own C numbers, "
                "the last axis.",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "normalises over time and width together",
                _block_over_both,
                why="One mean for the whole sequence holds the future too. Each position has its own mean, over its C "
                "numbers, the last axis.",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "normalises over the batch, as batch norm does",
                _block_over_batch,
                why="Mean and variance then hold other sequences and later positions. Normalise over the last axis.",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "normalises over everything at once",
                _block_over_all,
                why="One mean for the whole batch holds other sequences and the future. Each position has its own "
                "mean, over its C numbers, the last axis.",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "divides the sum of squares by C - 1",
                _block_unbiased,
                why="`std` and `var` divide by one less than the count unless told otherwise. Here, as in layer norm, "
                "the variance is the plain mean of squares: correction=0, or F.layer_norm.",
                look="Exercise 41.7, its first step",
            ),
            Misconception(
                "makes the values from x as it was",
                _block_raw_values,
                why="Queries, keys *and values* come from the normalised x; only the sum at the end takes x itself.",
                look="Exercise 41.7, its second step",
            ),
            Misconception(
                "does not normalise",
                _block_not_normalised,
                why="Queries, keys and values are made from the normalised x; only the sum at the end takes x itself.",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "has no causal mask",
                _block_without_mask,
                why="Every position sees the whole sequence. In training the model would read the answer.",
                look=f"Section 4 {LESSON}, 'The mask goes before the softmax'",
            ),
            Misconception(
                "inverts the causal mask",
                _block_upper,
                why="Queries look at themselves and back: k <= q, the lower triangle. Yours look ahead.",
                look=f"Section 4 {LESSON}, 'Masks: who may look where'",
            ),
            Misconception(
                "applies the mask after the softmax",
                _block_masked_late,
                why="The weights of a row no longer add up to 1, and what is missing depends on the future: a leak.",
                look=f"Section 4 {LESSON}, 'The mask goes before the softmax'",
            ),
            Misconception(
                "leaves out the sum with x",
                _block_no_residual,
                why="The block *adds* to x what attention found: y = x + attention(normalised x).",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "adds attention to the normalised x instead of x",
                _block_residual_normalised,
                why="The path of x itself stays free of any change: y = x + attention(normalised x).",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "normalises the sum, after the attention",
                _block_post_norm,
                why="That is the order of the transformer of 2017. Here normalisation comes first, as in GPT-2: "
                "y = x + attention(normalised x). Chapter 42 compares the two.",
                look=f"Section 9 {LESSON}, 'The leak beside the mask'",
            ),
            Misconception(
                "does not divide the scores by the square root of the width",
                _block_unscaled,
                why="The scores are q · k / √D, with D the width of a query: wq.shape[1].",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
            Misconception(
                "divides by the square root of the model's width",
                _block_by_model_width,
                why="The products are summed over the width of a *query*, wq.shape[1], not over C.",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
        ],
        hints=(
            "Three parts: normalise, attend with a causal mask, add. Which axis of x may a mean run over?",
            "z = F.layer_norm(x, x.shape[-1:]). Queries, keys and values are z @ wq, z @ wk, z @ wv.",
            "x + F.scaled_dot_product_attention(z @ wq, z @ wk, z @ wv, is_causal=True)",
        ),
        alternatives=[_block_by_hand],
        names=("x", "wq", "wk", "wv"),
    ),
    Exercise(
        "41.8",
        "One step with a cache",
        minutes=15,
        difficulty=2,
        reference=step,
        cases=[
            _step_case,
            Case("the first token", *(torch.ones(1, 2, 1, 3),) * 3, (torch.zeros(1, 2, 0, 3), torch.zeros(1, 2, 0, 3))),
        ],
        misconceptions=[
            Misconception(
                "attends before the new key has joined",
                _step_attends_first,
                why="A causal query sees its own position too, so the new key and value join first.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "returns the cache as it was",
                _step_forgets,
                why="The next token would never see this one. Return the keys and values with the new ones behind.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "attends to the new key alone",
                _step_new_only,
                why="The query attends to *all* tokens so far: the whole cache and the new one.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "puts the new key in front",
                _step_in_front,
                why="y is the same, since a set has no order, but slot s of the cache is position s for masks and for "
                "whoever drops the oldest: the new one goes behind.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "keeps the query in the cache in place of the key",
                _step_queries_cached,
                why="A query is used once. What later tokens compare themselves with is the key.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "drops the oldest position",
                _step_drops_oldest,
                why="That is a sliding window, which a layer has to be trained with. This cache keeps everything.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "keeps new values but not new keys",
                _step_new_beside,
                why="Each value needs its key: both grow by one position at each step.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "takes the softmax over the queries instead of the keys",
                _step_over_queries,
                why="There is one query, so each weight becomes 1, and the values are added up. The query shares one "
                "unit among the keys: the last axis.",
                look=f"Section 2 {LESSON}, 'The softmax runs over S, the last axis'",
            ),
            Misconception(
                "uses is_causal=True for one query",
                _step_causal_flag,
                why="PyTorch then takes the query for position 0, which sees the first key alone. The one query is the "
                "*last* position and may see all keys: no mask is needed.",
                look=f"Section 10 {LESSON}, 'One token at a time'",
            ),
            Misconception(
                "does not divide the scores by the square root of the width",
                _step_unscaled,
                why="The scores are q · k / √D, with a cache as without.",
                look=f"Section 3 {LESSON}, 'Why the scores are divided by √d'",
            ),
        ],
        hints=(
            "Which axis of the cache grows? And does a token see itself?",
            "torch.cat((cache[0], k), dim=2), and the values alike. Then attention as always, without a mask.",
            "return softmax(q @ keys.mT / √D) @ values, (keys, values)",
        ),
        alternatives=[_step_sdpa],
    ),
]
