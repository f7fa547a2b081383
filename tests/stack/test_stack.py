"""Blocks and stacks: equal to torch's, to each row alone and to themselves without a cache; clear errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.attention.decode import PagedCache, SlidingCache
from lib.attention.masks import and_masks, causal, padding, sliding_window
from lib.heads import LM, TiedLM
from lib.layers.embed import Normed, Scaled, learned, rotary, sinusoidal
from lib.layers.ff import FeedForward, Gated
from lib.layers.pos import Rotary, Sinusoidal
from lib.spec import Spec
from lib.stack import CrossBlock, EncoderDecoder, Model, PostNorm, PreNorm, State, TwoTables, xavier
from tests.attention.twins import normal, shaken
from tests.stack.verified import CLAIMS

GPT = Spec(name="small gpt", n_vocab=11, n_positions=12, n_heads=2, d_model=8, d_ff=12, mask=causal, pos=learned)
READS = GPT.but(name="small reader", block=CrossBlock, body=EncoderDecoder)


def ids(*shape: int, n: int = 11) -> torch.Tensor:
    return torch.arange(int(np.prod(shape))).view(shape) * 7 % n


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name}, {claim.reference[:20]}")
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


# --- parts -----------------------------------------------------------------------------------------------------------


def test_the_two_residuals_are_their_formulas():
    rng = np.random.default_rng(0)
    x, w = normal(rng, 2, 3, 8), normal(rng, 8, 8)

    def norm(x, layer):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return (x - mean) / (var + 0.3).sqrt() * layer.weight + layer.bias

    spec = GPT.but(eps=0.3)
    pre, post = shaken(PreNorm(spec), rng), shaken(PostNorm(spec), rng)
    assert torch.allclose(pre(x, lambda x: x @ w), x + norm(x, pre.norm) @ w, atol=1e-12)
    assert torch.allclose(post(x, lambda x: x @ w), norm(x + x @ w, post.norm), atol=1e-12)


@pytest.mark.parametrize("residual", [PreNorm, PostNorm])
def test_dropout_falls_on_what_is_added_never_on_the_stream(residual):
    add = residual(GPT.but(p_dropout=0.5, norm=lambda d, eps: nn.Identity()))
    x = torch.full((1, 50, 8), 100.0)
    torch.manual_seed(0)
    added = add(x, torch.ones_like) - x
    assert set(added.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(add.eval()(x, torch.ones_like), x + 1)


def test_attention_gets_what_the_specification_says():
    seen = []

    def attend(q, k, v, mask, score, scale, p_dropout, **more):
        seen.append((k.shape[1], score(torch.zeros(1), *[torch.tensor(1)] * 4), p_dropout))
        return torch.zeros_like(q)

    bump = {"score": lambda spec: lambda s, b, h, q, k: s + spec.n_layers}
    Model(READS.but(n_groups=1, attend=attend, p_attend=0.25, **bump))(ids(2, 3), ids(2, 4))
    reads, writes, looks = (1, 2.0, 0.25), (1, 2.0, 0.25), (1, 0.0, 0.25)  # a memory's positions bear no relative score
    assert seen == [reads, reads, writes, looks, writes, looks]


def test_heads_are_their_formulas():
    rng = np.random.default_rng(0)
    spec = GPT.but(d_model=4, n_vocab=5)
    y, table = normal(rng, 2, 3, 4), normal(rng, 5, 4)
    assert torch.allclose(TiedLM(spec)(y, table), torch.einsum("btc,vc->btv", y, table), atol=1e-12)
    untied = shaken(LM(spec), rng)
    (weight,) = untied.parameters()
    assert torch.allclose(untied(y, table), torch.einsum("btc,vc->btv", y, weight), atol=1e-12)


def test_feed_forward_layers_are_their_formulas():
    rng = np.random.default_rng(0)
    x = normal(rng, 2, 3, 5)
    plain, gated = shaken(FeedForward(5, 7, F.gelu), rng), shaken(Gated(5, 7, bias=False), rng)
    up, down = plain.up, plain.down
    assert torch.allclose(plain(x), F.gelu(x @ up.weight.T + up.bias) @ down.weight.T + down.bias, atol=1e-12)
    g, u = x @ gated.gate.weight.T, x @ gated.up.weight.T
    assert torch.allclose(gated(x), (g * torch.sigmoid(g) * u) @ gated.down.weight.T, atol=1e-12)
    assert gated.up.bias is gated.down.bias is gated.gate.bias is None


def test_embeddings_are_their_formulas():
    rng = np.random.default_rng(0)
    spec = GPT.but(n_types=3, pos=learned)
    x, kinds, at = ids(2, 4), ids(2, 4, n=3), torch.tensor([[0, 1, 2, 3], [5, 4, 7, 6]])
    e = shaken(Normed(spec), rng)
    total = e.tokens.weight[x] + e.types.weight[kinds] + e.pos.weight[at]
    assert torch.allclose(e(x, at, kinds), F.layer_norm(total, (8,), e.norm.weight, e.norm.bias), atol=1e-12)
    assert torch.equal(e(x, at), e(x, at, torch.zeros_like(x)))
    e = shaken(Scaled(GPT.but(p_dropout=0.9)), rng).eval()
    assert torch.allclose(e(x, at), e.tokens.weight[x] * 8**0.5 + e.pos.weight[at], atol=1e-12)
    assert (e.train()(x, at) == 0).double().mean() > 0.7


def test_positions_take_their_base_from_the_specification():
    spec = GPT.but(base=100.0)
    x, at = torch.ones(1, 2, 3, 4), torch.arange(3)
    assert torch.equal(rotary(spec).on_heads(x, at), Rotary(4, base=100.0).on_heads(x, at))
    x = torch.ones(2, 3, 8)
    assert torch.equal(sinusoidal(spec).on_embed(x, at), Sinusoidal(8, 100.0).on_embed(x, at))


# --- first values ----------------------------------------------------------------------------------------------------


def test_normal_gives_every_matrix_its_spread_and_every_bias_0():
    torch.manual_seed(0)
    model = Model(READS.but(d_model=64, d_ff=256, n_vocab=200, n_types=8, std=0.05))
    for name, p in model.named_parameters():
        if p.dim() == 2:
            assert abs(p.std() - 0.05) < 0.005 and abs(p.mean()) < 0.005, name
        else:
            assert (p == (1 if name.endswith("norm.weight") else 0)).all(), name


def test_xavier_keeps_variances_and_logits_at_1():
    torch.manual_seed(0)
    model = Model(READS.but(d_model=64, d_ff=256, n_vocab=200, init=xavier, embed=Scaled))
    for name, p in model.named_parameters():
        if "embed" in name:
            assert abs(p.std() - 64**-0.5) < 0.01, name
        elif p.dim() == 2:
            assert abs(p.var() * sum(p.shape) / 2 - 1) < 0.05 and p.abs().max() <= (6 / sum(p.shape)) ** 0.5, name
        elif not name.endswith("norm.weight"):
            assert (p == 0).all(), name


# --- whole models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [rotary, GPT.turn])
@pytest.mark.parametrize("residual", [PreNorm, PostNorm])
def test_a_causal_stack_is_blind_to_the_future_bit_for_bit(turn, residual):
    model = shaken(Model(GPT.but(turn=turn, residual=residual)), np.random.default_rng(0)).eval()
    x = ids(3, 8)
    before = model(x)
    for t in range(8):
        other = x.clone()
        other[:, t:] = (other[:, t:] + 3) % 11
        assert torch.equal(model(other)[:, :t], before[:, :t])
        assert not torch.equal(model(other)[:, t], before[:, t])


def test_the_last_state_is_what_the_head_reads():
    model = Model(GPT.but(final=nn.LayerNorm)).eval()
    keep: list[torch.Tensor] = []
    logits = model(ids(2, 5), keep=keep)
    assert len(keep) == 3 and torch.equal(keep[0], model.body.embed(ids(2, 5), torch.arange(5)))
    assert torch.equal(logits, keep[-1] @ model.body.embed.tokens.weight.T)
    assert torch.equal(model.body(ids(2, 5)), keep[-1])


@pytest.mark.parametrize(
    "caches", [lambda: SlidingCache(2, 2, 3, 4), lambda: PagedCache(2, 2, 8, 3, 4)], ids=["sliding", "paged"]
)
@torch.no_grad()
def test_other_kinds_of_caches_serve_too(caches):
    model = Model(GPT.but(mask=and_masks(causal, sliding_window(3)))).eval()
    x, state = ids(2, 9), State([caches() for _ in range(2)])
    steps = torch.cat([model.step(part, state) for part in x.split([4, 1, 1, 3], dim=1)], dim=1)
    assert torch.allclose(steps, model(x), atol=1e-6)


@torch.no_grad()
def test_the_source_is_read_once():
    model = Model(READS).eval()
    n_calls = []
    model.body.encoder.register_forward_hook(lambda *_: n_calls.append("encoder"))
    model.body.decoder.blocks[0].cross.k.register_forward_hook(lambda *_: n_calls.append("keys"))
    state = model.start(ids(2, 4), 6, padding([4, 2]))
    for t in range(6):
        model.step(ids(2, 6)[:, t : t + 1], state)
    assert n_calls == ["encoder", "keys"]


@torch.no_grad()
def test_two_tables_are_one_where_they_hold_the_same():
    one, two = Model(READS).eval(), Model(READS.but(body=TwoTables, n_source=17)).eval()
    weights = one.state_dict()
    table = weights["body.embed.tokens.weight"]
    weights["body.embed_source.tokens.weight"] = torch.cat([table, table[:6]])
    weights["body.embed_source.pos.weight"] = weights["body.embed.pos.weight"]
    two.load_state_dict(weights)
    source = ids(2, 6)
    assert torch.equal(one(source, ids(2, 4)), two(source, ids(2, 4)))
    assert torch.equal(two(source + 11 * (source < 6), ids(2, 4)), two(source, ids(2, 4)))
    with pytest.raises(ValueError, match="ids are from 0 to 16"):
        two(source + 11, ids(2, 4))


# --- bad input -------------------------------------------------------------------------------------------------------


def one_more_than_fits():
    with torch.no_grad():
        model = Model(GPT)
        model.step(ids(2, 5), model.start(2, 4))


WRONG = {
    "ids of another vocabulary": (lambda: Model(GPT)(ids(2, 3) + 8), "ids are from 0 to 10, .* got 8 to"),
    "negative ids": (lambda: Model(GPT)(ids(2, 3) - 9), "ids are from 0 to 10"),
    "numbers for ids": (lambda: Model(GPT)(torch.rand(2, 3)), "ids are whole numbers, .* not torch.float32"),
    "one sequence without a batch": (lambda: Model(GPT)(ids(3)), r"sequences x positions, .* shape \(3,\)"),
    "no token": (lambda: Model(GPT)(ids(2, 0)), r"not torch.int64 of shape \(2, 0\)"),
    "longer than the table": (lambda: Model(GPT)(ids(1, 13)), "positions are from 0 to 11"),
    "kinds without a table": (lambda: Model(GPT)(ids(1, 3), ids(1, 3)), "no table of types"),
    "kinds that there are not": (lambda: Model(GPT.but(n_types=2))(ids(1, 3), ids(1, 3)), "kinds are from 0 to 1"),
    "batches of two sizes": (lambda: Model(READS)(ids(2, 3), ids(3, 3)), "the same number of sequences"),
    "a mask for fewer rows": (lambda: Model(GPT)(ids(3, 3), None, padding([1, 2])), "smaller batch|3"),
    "more than the cache holds": (one_more_than_fits, "room for 4"),
    "a step with gradients": (lambda: (m := Model(GPT)).step(ids(2, 3), m.start(2, 4)), "torch.no_grad"),
    "nothing to look at": (lambda: CrossBlock(GPT)(torch.rand(1, 2, 8), causal), "looks at a memory: give it one"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_is_a_clear_error(wrong):
    run, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        run()
