"""The first values of the small BERT, and that it is a BERT for transformers."""

import math

import pytest
import torch

from lib.layout import layout_of
from lib.spec import get
from lib.stack import Model

SPEC = get("mini-bert").but(n_vocab=500, n_layers=2)


def test_positions_begin_as_sinusoids_of_the_tokens_size():
    model = Model(SPEC)
    table = model.get_parameter("body.embed.pos.weight").detach() / (SPEC.std * 2**0.5)
    for at, pair in ((0, 0), (3, 0), (40, 5), (63, 63)):
        angle = at / 100 ** (2 * pair / 128)
        assert table[at, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
        assert table[at, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
    tokens = model.get_parameter("body.embed.tokens.weight")
    assert (table * SPEC.std * 2**0.5).square().mean().sqrt().item() == pytest.approx(tokens.std().item(), rel=0.05)
    near, far = table[30] @ table[32], table[30] @ table[60]
    assert near > 1.3 * far > 0


def test_everything_else_begins_as_in_bert():
    torch.manual_seed(0)
    ours = Model(SPEC).state_dict()
    torch.manual_seed(0)
    plain = Model(
        get("bert").but(
            **{n: getattr(SPEC, n) for n in ("n_vocab", "n_positions", "n_layers", "n_heads")},
            d_model=128,
            d_ff=512,
            std=SPEC.std,
        )
    ).state_dict()
    assert [name for name, each in plain.items() if not torch.equal(each, ours[name])] == ["body.embed.pos.weight"]


def test_it_leaves_as_a_bert():
    config, head = layout_of(SPEC).write(SPEC)
    assert (config["model_type"], head.architecture) == ("bert", "BertForPreTraining")
