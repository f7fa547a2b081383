"""Every claim in `verified.py`; and what a position module promises besides: distances, dtypes, bad input."""

import pytest
import torch

from lib.layers.pos import Learned, Position, Rotary, Sinusoidal, dynamic, halves, linear, llama3, neighbours, ntk
from tests.layers.pos.verified import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


def test_learned_adds_its_rows():
    torch.manual_seed(0)
    pos, x, at = Learned(9, 4), torch.randn(2, 3, 4), torch.tensor([[0, 1, 8], [3, 3, 0]])
    y = pos.on_embed(x, at)
    for b in range(2):
        for t in range(3):
            assert torch.equal(y[b, t], x[b, t] + pos.weight[at[b, t]])
    torch.testing.assert_close(pos.on_embed(x, at[0]), x + pos.weight[[0, 1, 8]])
    assert torch.equal(pos.on_embed(x, at.where(at > 0, -1))[:, 1], y[:, 1])  # a -1 disturbs no neighbour
    y.sum().backward()
    assert pos.weight.grad[:, 0].tolist() == [2, 1, 0, 2, 0, 0, 0, 0, 1]
    assert Learned(1000, 100).weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_each_kind_uses_one_hook():
    x, heads, at = torch.randn(1, 3, 4), torch.randn(1, 2, 3, 4), torch.arange(3)
    for pos, embeds, turns in (
        (Position(), False, False),
        (Learned(3, 4), True, False),
        (Sinusoidal(4), True, False),
        (Rotary(4), False, True),
    ):
        assert torch.equal(pos.on_embed(x, at), x) != embeds
        assert torch.equal(pos.on_heads(heads, at), heads) != turns


@pytest.mark.parametrize("pairs", [halves, neighbours])
@pytest.mark.parametrize("scaling", [None, linear(4.0), ntk(4.0), llama3(n_trained=64)])
def test_rotary_sees_distances_alone(pairs, scaling):
    """q at m + s times k at n + s is the same for every shift s; a turn changes no length; position 0 turns nothing."""
    torch.manual_seed(0)
    pos = Rotary(10, 8, pairs=pairs, scaling=scaling)
    q, k = torch.randn(2, 1, 1, 5, 10, dtype=torch.float64)
    m, n = torch.tensor([3, 0, 90, 7, 1]), torch.tensor([8, 4, 2, 7, 60])
    products = [(pos.on_heads(q, m + s) * pos.on_heads(k, n + s)).sum(-1) for s in (0, 1, 1000)]
    torch.testing.assert_close(products[1], products[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(products[2], products[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(pos.on_heads(q, m).norm(dim=-1), q.norm(dim=-1))
    assert torch.equal(pos.on_heads(q, 0 * m), q)
    assert torch.equal(pos.on_heads(q, m)[..., 8:], q[..., 8:])


def test_a_longer_context_looks_like_the_one_trained_on():
    """Linear: position 8 m looks like m did. NTK and Llama 3: the fastest pair is as it was."""
    torch.manual_seed(0)
    x, at = torch.randn(1, 1, 6, 8, dtype=torch.float64), torch.arange(6)
    plain = Rotary(8, pairs=neighbours).on_heads(x, at)
    torch.testing.assert_close(Rotary(8, pairs=neighbours, scaling=linear(8.0)).on_heads(x, 8 * at), plain)
    for scaling in (ntk(8.0), llama3(n_trained=100)):
        scaled = Rotary(8, pairs=neighbours, scaling=scaling).on_heads(x, at)
        torch.testing.assert_close(scaled[..., :2], plain[..., :2])
        assert (scaled[..., 6:] - plain[..., 6:]).abs().max() > 1e-3


def test_dynamic_scaling_begins_beyond_the_trained_length():
    torch.manual_seed(0)
    x, at = torch.randn(1, 1, 6, 8, dtype=torch.float64), torch.arange(6)
    plain = Rotary(8).on_heads(x, at)
    assert torch.equal(Rotary(8, scaling=dynamic(4.0, 6)).on_heads(x, at), plain)
    longer = Rotary(8, scaling=dynamic(4.0, 5)).on_heads(x, at)
    torch.testing.assert_close(longer, Rotary(8, scaling=ntk(4.0 * 6 / 5 - 3)).on_heads(x, at))
    assert (longer - plain).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_angles_are_at_least_float32(dtype):
    """In bfloat16 position 1001 would be 1000: the angle must not be computed there, only the answer rounded."""
    x, at = torch.ones(1, 1, 1, 8, dtype=dtype), torch.tensor([1001])
    exact = Rotary(8).on_heads(x.double(), at)
    y = Rotary(8).on_heads(x, at)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=max(4e-4, 1.5 * torch.finfo(dtype).eps))
    y = Sinusoidal(8).on_embed(x[0], at)
    assert y.dtype == dtype
    exact = Sinusoidal(8).on_embed(x[0].double(), at)
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=max(4e-4, 1.5 * torch.finfo(dtype).eps))


X, HEADS, AT = torch.zeros(1, 3, 4), torch.zeros(1, 2, 3, 4), torch.arange(3)
BAD = {
    "from 0 to 1, got 0 to 2: use a longer table": lambda: Learned(2, 4).on_embed(X, AT),
    "from 0 to 3, got -2 to 0": lambda: Learned(4, 4).on_embed(X, AT - 2),
    "sizes are at least 1: n_positions=0": lambda: Learned(0, 4),
    "d_model is even, not 5": lambda: Sinusoidal(5),
    "d_model is even, not 0": lambda: Sinusoidal(0),
    "x is 4 wide.*d_model=6": lambda: Sinusoidal(6).on_embed(X, AT),
    "an even count from 2 to d_head=7, not 7": lambda: Rotary(7),
    "an even count from 2 to d_head=4, not 6": lambda: Rotary(4, 6),
    "an even count from 2 to d_head=4, not 0": lambda: Rotary(4, 0),
    "a head is 4 wide.*d_head=6": lambda: Rotary(6).on_heads(HEADS, AT),
    "positions are whole numbers, not torch.float32": lambda: Rotary(4).on_heads(HEADS, AT / 2),
    "d_rotary is at least 4": lambda: Rotary(4, 2, scaling=ntk(2.0)).on_heads(HEADS, AT),
    "the context grows is at least 1, not 0.5": lambda: linear(0.5),
    "context grows is at least 1, not 0.1": lambda: ntk(0.1),
    "context grows is at least 1, not 0": lambda: llama3(0),
    "context grows is at least 1, not 0.2": lambda: dynamic(0.2, 8),
    "length trained on, at least 1, not -3": lambda: dynamic(2.0, -3),
    "0 < low < high.*low=4.0, high=4.0": lambda: llama3(low=4.0),
    "length trained on, at least 1, not 0": lambda: llama3(n_trained=0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_said(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert all(piece in str(error.value) for piece in message.split(".*")), str(error.value)
