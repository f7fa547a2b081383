"""GPT, GPT-2, Llama, BERT, RoBERTa, DistilBERT: equal to transformers' in every number."""

from __future__ import annotations

import pytest
import torch

from lib.attention.masks import causal
from lib.heads import OfSequence, OfTokens
from lib.spec import family, get
from lib.stack import Model, Single
from tests.zoo.bert import verified as bert
from tests.zoo.distilbert import verified as distilbert
from tests.zoo.gpt import verified as gpt
from tests.zoo.gpt2 import verified as gpt2
from tests.zoo.llama import verified as llama
from tests.zoo.roberta import verified as roberta

CLAIMS = [claim for each in (gpt, gpt2, llama, bert, roberta, distilbert) for claim in each.CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.name}, {claim.reference[:60]}")
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


SIZES = {
    "gpt": 116_534_784,
    "gpt2": 124_439_808,
    "llama": 6_738_415_616,
    "llama-3": 8_030_261_248,
    "llama-3.1": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "bert": 110_106_428,
    "roberta": 124_697_433 - 2 * 768,  # the two rows that nothing looks up
    "distilbert": 66_985_530,
}
"""Parameters of the published models."""


@pytest.mark.parametrize("name", SIZES)
def test_the_published_model_has_its_parameters(name):
    with torch.device("meta"):
        assert sum(p.numel() for p in Model(get(name)).parameters()) == SIZES[name]


DECODERS = [name for name, spec in family().items() if spec.mask is causal and spec.body is Single]
"""The transformers of 2017, which also read a source, are tested in tests/zoo/transformer."""


@pytest.mark.parametrize("name", DECODERS)
def test_a_future_token_changes_no_earlier_output(name):
    spec = get(name)
    n_groups = spec.n_groups and 2
    model = Model(spec.but(n_vocab=20, n_positions=16, n_layers=2, d_model=32, d_ff=48, n_heads=4, n_groups=n_groups))
    for p in model.eval().parameters():
        torch.nn.init.normal_(p, std=0.2)
    ids = torch.randint(20, (3, 12))
    before = model(ids)
    for t in range(12):
        changed = ids.clone()
        changed[:, t] = (ids[:, t] + torch.randint(1, 20, (3,))) % 20
        after = model(changed)
        assert torch.equal(after[:, :t], before[:, :t]) and not torch.equal(after[:, t:], before[:, t:])


def test_gpt2_begins_with_small_additions():
    torch.manual_seed(0)
    model = Model(get("gpt2").but(n_vocab=100, n_layers=8, d_model=64, d_ff=256, n_heads=2))
    for name, p in model.named_parameters():
        if p.dim() == 2:
            small = name.endswith(("mix.out.weight", "ff.down.weight"))
            assert abs(p.std() / (0.02 / 4 if small else 0.02) - 1) < 0.06, name


@pytest.mark.parametrize("head", [OfSequence, OfTokens])
def test_heads_that_classify_drop_what_they_read(head):
    torch.manual_seed(0)
    y = torch.rand(2, 3, 64)
    made = head(get("bert").but(d_model=64, n_heads=2, p_dropout=0.5, n_classes=3))
    assert not torch.equal(made(y, y), made(y, y)) and torch.equal(made.eval()(y, y), made(y, y))
    assert made(y, y).shape[-1] == 3


def test_a_model_goes_on_with_another_head():
    model = Model(get("bert").but(n_vocab=9, n_layers=1, d_model=8, d_ff=8, n_heads=2))
    tokens, sentence = model(torch.ones(2, 3).long())
    model.head = OfSequence(model.spec)
    assert (tokens.shape, sentence.shape, model(torch.ones(2, 3).long()).shape) == ((2, 3, 9), (2, 2), (2, 2))
