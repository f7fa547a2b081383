"""Every claim in `verified.py`; and what random numbers do not reach: derivatives by differences, causality, slots."""

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.attention import masks, scores
from lib.attention.core import Attention, attend, weights
from lib.layers.pos import Rotary
from tests.attention.twins import all_masks, all_scores, normal, shaken
from tests.attention.verified import CLAIMS, COMPILED, FLEX

KINDS = {"multi-head": 4, "grouped": 2, "multi-query": 1}
MASKS = all_masks(np.random.default_rng(0), 2, 4, 5)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    if claim in (COMPILED, FLEX) and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        pytest.skip("no C++ compiler (c++, g++, clang++ or cl) is on the path: flex_attention cannot be compiled")
    assert claim.measure() <= claim.tolerance


def three(T: int = 3, S: int = 5, H: int = 4, G: int = 2, D: int = 3) -> list[torch.Tensor]:
    rng = np.random.default_rng(1)
    return [normal(rng, 2, *shape).requires_grad_() for shape in ((H, T, D), (G, S, D), (G, S, D))]


@pytest.mark.parametrize("name", MASKS)
def test_gradients_are_those_of_differences(name):
    assert torch.autograd.gradcheck(lambda q, k, v: attend(q, k, v, MASKS[name]), three(), fast_mode=True)


@pytest.mark.parametrize("score", all_scores(np.random.default_rng(0), 4).values())
def test_gradients_of_scores(score):
    learned = list(getattr(score, "__self__", nn.Module()).parameters())
    run = lambda q, k, v, *_: attend(q, k, v, masks.causal, score)  # noqa: E731
    assert torch.autograd.gradcheck(run, [*three(5, 5), *learned], fast_mode=True)


@pytest.mark.parametrize("lengths", [[0, 0], [0, 3]])
def test_a_query_that_may_attend_to_nothing_gives_zeros(lengths):
    """In the output, the weights and every gradient, with anomaly detection on: no NaN even on the way."""
    q, k, v = three()
    mask = masks.padding(lengths)
    with torch.autograd.set_detect_anomaly(True):
        y, w = attend(q, k, v, mask), weights(q, k, mask)
        (y.square().sum() + w.sum()).backward()
    assert not y[0].any() and not w[0].any()
    assert all(not x.grad[0].any() and x.grad.isfinite().all() for x in (q, k, v))
    assert bool(y[1].any()) == bool(lengths[1])


@pytest.mark.parametrize("lengths", [[0, 3], [3, 3]])
def test_compiled_it_looks_at_no_number(lengths):
    """A graph without a break, which holds for queries with and without keys."""
    q, k, v = (x.detach() for x in three())
    mask = masks.padding(lengths)
    torch._dynamo.reset()
    compiled = torch.compile(lambda *x: attend(*x, mask), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(q, k, v), attend(q, k, v, mask), rtol=0, atol=1e-12)


def test_a_sink_takes_its_share():
    """Its exponential joins the sum below the others'; nothing else changes, and where there is no key it takes all."""
    q, k, v = three()
    sinks = torch.tensor([0.5, -1.0, 2.0, 30.0], dtype=torch.float64, requires_grad=True)
    w = weights(q, k, masks.padding([5, 0]), scale=1.0, sinks=sinks)
    e = (q @ k.repeat_interleave(2, 1).mT).exp()
    expected = e / (e.sum(-1, keepdim=True) + sinks.exp()[:, None, None])
    torch.testing.assert_close(w[0], expected[0], rtol=0, atol=1e-12)
    assert not w[1].any()
    y = attend(q, k, v, sinks=torch.full((4,), -torch.inf, dtype=torch.float64))
    torch.testing.assert_close(y, attend(q, k, v), rtol=0, atol=0)
    assert torch.autograd.gradcheck(lambda *x: attend(*x[:3], masks.padding([3, 0]), sinks=x[3]), [q, k, v, sinks])


def test_sinks_learn_with_the_layer():
    layer = Attention(8, 2, sinks=nn.Parameter(torch.zeros(2)))
    x = torch.randn(1, 3, 8)
    layer(x).sum().backward()
    assert layer.sinks.grad.all() and "sinks" in dict(layer.named_parameters())
    assert (layer.weights(x).sum(-1) < 1).all() and Attention(8, 2).sinks is None


def test_a_score_may_forbid_too():
    """-inf from the score is as good as a mask, for all keys of a query as for some."""
    q, k, v = three()
    barrier = lambda s, b, h, i, j: torch.where((i > 0) & (j < 2), s, -torch.inf)  # noqa: E731
    mask = lambda b, h, i, j: (i > 0) & (j < 2)  # noqa: E731
    assert torch.equal(attend(q, k, v, score=barrier), attend(q, k, v, mask))


@pytest.mark.parametrize("G", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "local", [masks.full, masks.sliding_window(2), masks.dilated(2)], ids=["all", "window", "dilated"]
)
@pytest.mark.parametrize("score", ["same", "ALiBi", "T5", "relative", "soft cap"])
def test_the_future_changes_nothing(G, local, score):
    """Another token at position t or later leaves every output before t as it is, bit for bit."""
    rng = np.random.default_rng(2)
    score = all_scores(rng, 4)[score]
    layer = shaken(Attention(16, 4, G, mask=masks.and_masks(masks.causal, local), score=score, pos=Rotary(4)), rng)
    x = normal(rng, 2, 7, 16)
    y = layer(x)
    for t in range(7):
        other = x.clone()
        other[:, t:] = 100 * normal(rng, 2, 7 - t, 16)
        changed = layer(other)
        assert torch.equal(changed[:, :t], y[:, :t])
        assert (changed[:, t] != y[:, t]).any()


def test_without_positions_order_is_nothing():
    """Shuffled tokens give shuffled outputs; with positions, or with a causal mask, they do not."""
    rng = np.random.default_rng(3)
    x, order = normal(rng, 2, 7, 16), torch.from_numpy(rng.permutation(7))

    def gap(**slots) -> float:
        layer = shaken(Attention(16, 4, 2, **slots), np.random.default_rng(4))
        return (layer(x[:, order]) - layer(x)[:, order]).abs().max().item()

    assert gap() < 1e-14
    assert gap(pos=Rotary(4)) > 1e-3
    assert gap(mask=masks.causal) > 1e-3
    assert gap(score=scores.alibi(4)) > 1e-3


def test_positions_of_a_memory_are_its_own():
    """Rotary turns the keys by their positions in the memory: shift both and nothing changes, shift one and it does."""

    class From(Rotary):
        def __init__(self, first):
            super().__init__(4)
            self.first = first

        def turn(self, at, like):
            return super().turn(at + self.first[len(at)], like)

    rng = np.random.default_rng(5)
    x, memory = normal(rng, 2, 3, 8), normal(rng, 2, 5, 8)

    def run(first):
        return shaken(Attention(8, 2, pos=From(first)), np.random.default_rng(6))(x, memory)

    plain = run({3: 0, 5: 0})
    torch.testing.assert_close(run({3: 9, 5: 9}), plain, rtol=0, atol=1e-12)
    assert (run({3: 0, 5: 1}) - plain).abs().max() > 1e-4


def test_dropout_in_training_alone():
    """Dropped weights are 0, the others grow: the numbers are those of F.dropout on the weights, from the same seed."""
    torch.manual_seed(0)
    layer, x = Attention(8, 2, p_dropout=0.5), torch.randn(2, 6, 8)
    found = []
    layer.attend = lambda q, k, v, mask, score, scale, p, sinks: (
        found.append((q, k, v, p)),
        attend(q, k, v, p_dropout=p),
    )[1]
    torch.manual_seed(1)
    layer(x)
    q, k, v, p = found[0]
    torch.manual_seed(1)
    expected = F.dropout(weights(q, k), 0.5) @ v
    torch.manual_seed(1)
    assert p == 0.5 and torch.equal(attend(q, k, v, p_dropout=0.5), expected)
    assert not torch.equal(expected, weights(q, k) @ v)
    layer.eval()
    layer(x)
    assert found[1][3] == 0
    assert torch.equal(layer.train().weights(x), layer.eval().weights(x))  # weights are those before dropout


def test_slots_are_used():
    """`linear` makes all four projections; a score that learns, alone or composed, trains with the layer."""

    class Loud(nn.Linear):
        pass

    t5 = scores.T5Bias(2)
    layer = Attention(8, 2, linear=Loud, score=scores.Compose(t5, scores.soft_cap(5.0)), bias=False)
    assert all(isinstance(part, Loud) and part.bias is None for part in (layer.q, layer.k, layer.v, layer.out))
    assert any(p is t5.weight for p in layer.parameters())
    layer(torch.randn(1, 3, 8)).sum().backward()
    assert t5.weight.grad is not None and t5.weight.grad.any()


def test_weights_by_a_hook():
    """How to see the weights of a layer deep in a model."""
    layer, found = Attention(8, 2, mask=masks.causal), []

    def keep(layer, args, kwargs, y):
        found.append(layer.weights(*args, **kwargs))

    layer.register_forward_hook(keep, with_kwargs=True)
    layer(torch.randn(2, 5, 8), mask=masks.padding([5, 3]))
    torch.testing.assert_close(found[0].sum(-1), torch.ones(2, 2, 5))
    assert not found[0].triu(1).any() and not found[0][1, :, :, 3:].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_comes_back(dtype):
    layer = Attention(8, 2, 1, pos=Rotary(4), score=scores.Compose(scores.alibi(2), scores.T5Bias(2))).to(dtype)
    assert layer(torch.randn(1, 3, 8, dtype=dtype)).dtype == dtype


def test_strides_do_not_matter():
    q, k, v = (x.detach() for x in three())
    expected = attend(q, k, v)
    strided = [torch.stack((x, x), -1).transpose(1, 2)[..., 0].transpose(1, 2) for x in (q, k, v)]
    assert not any(x.is_contiguous() for x in strided)
    torch.testing.assert_close(attend(*strided), expected, rtol=0, atol=1e-14)
    layer, x = Attention(8, 2).double(), normal(np.random.default_rng(0), 8, 5, 2).permute(2, 1, 0)
    torch.testing.assert_close(layer(x), layer(x.contiguous()), rtol=0, atol=1e-14)


X, Q = torch.zeros(2, 3, 8), torch.zeros(2, 4, 3, 2)
BAD = {
    "4 axes, B H T D.*q (4, 3, 2)": lambda: attend(Q[0], Q, Q),
    "4 axes, B H T D.*v (3, 2)": lambda: attend(Q, Q, Q[0, 0]),
    "no axis may be empty.*q (2, 4, 0, 2)": lambda: attend(Q[:, :, :0], Q, Q),
    "no axis may be empty.*k (2, 4, 0, 2)": lambda: attend(Q, Q[:, :, :0], Q[:, :, :0]),
    "same number of sequences.*k (1, 4, 3, 2)": lambda: attend(Q, Q[:1], Q[:1]),
    "equally wide.*k (2, 4, 3, 1)": lambda: attend(Q, Q[..., :1], Q),
    "each key needs one value.*v (2, 4, 2, 2)": lambda: attend(Q, Q, Q[:, :, :2]),
    "each key needs one value.*v (2, 2, 3, 2)": lambda: attend(Q, Q, Q[:, :2]),
    "heads of q must be a multiple.*k (2, 3, 3, 2)": lambda: attend(Q, Q[:, :3], Q[:, :3]),
    "heads of q must be a multiple.*q (2, 2, 3, 2)": lambda: weights(Q[:, :2], Q),
    "dtypes differ.*v (2, 4, 3, 2) torch.float64": lambda: attend(Q, Q, Q.double()),
    "devices differ.*k (2, 4, 3, 2) torch.float32 on meta": lambda: attend(Q, Q.to("meta"), Q),
    "3 axes, sequences x positions x 8, not the shape (3, 8)": lambda: Attention(8, 2)(X[0]),
    "x has 3 axes, sequences x positions x 8, not the shape (2, 3, 4)": lambda: Attention(8, 2)(X[..., :4]),
    "memory has 3 axes, sequences x positions x 5, not": lambda: Attention(8, 2, d_memory=5)(X, X),
    "d_model=8 is not a multiple of n_heads=3": lambda: Attention(8, 3),
    "n_heads=4 is not a multiple of n_groups=3": lambda: Attention(8, 4, 3),
    "sizes are at least 1.*n_heads=0": lambda: Attention(8, 0),
    "sizes are at least 1.*n_groups=0": lambda: Attention(8, 2, 0),
    "d_head is at least 1, not 0": lambda: Attention(8, 2, d_head=0),
    "p_dropout is a probability below 1, not 1.0": lambda: Attention(8, 2, p_dropout=1.0),
    "p_dropout is a probability below 1, not -0.5": lambda: Attention(8, 2, p_dropout=-0.5),
    "lengths go with a cache": lambda: Attention(8, 2)(X, lengths=torch.tensor([1, 2])),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert all(piece in str(error.value) for piece in message.split(".*")), str(error.value)
