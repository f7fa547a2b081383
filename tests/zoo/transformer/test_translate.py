"""Training and writing with the transformer: what the loss counts, greedy decoding, copying where it looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lib.attention.masks import padding
from lib.spec import get
from lib.stack import Model, TwoTables
from lib.tasks.translate import translations
from lib.tasks.translate_transformer import cross_weights, greedy, transformer_loss, written
from lib.tokens.vocabulary import BOS, EOS, PAD, UNK, Vocabulary, pad
from tests.attention.twins import shaken

SPEC = get("transformer").but(
    n_vocab=9, n_source=11, n_layers=2, n_heads=2, d_model=8, d_ff=12, p_dropout=0.0, body=TwoTables
)
SOURCE, TARGET = pad([[5, 6, 10], [7]]), pad([[BOS, 4, 8, EOS], [BOS, EOS]])


def model(seed: int = 0) -> Model:
    return shaken(Model(SPEC), np.random.default_rng(seed)).eval()


def test_the_loss_is_that_of_each_row_alone():
    one = model()
    total, count = transformer_loss(one, (SOURCE, TARGET))
    alone = 0.0
    for x, y in (([5, 6, 10], [BOS, 4, 8, EOS]), ([7], [BOS, EOS])):
        logits = one(torch.tensor([x]), torch.tensor([y[:-1]]))[0]
        alone += F.cross_entropy(logits, torch.tensor(y[1:]), reduction="sum")
    assert int(count) == 4 and torch.isclose(total, torch.as_tensor(alone))
    smooth, _ = transformer_loss(one, (SOURCE, TARGET), smoothing=0.1)
    logits = one(SOURCE, TARGET[:, :-1], padding([3, 1]))[TARGET[:, 1:] != PAD]
    assert torch.isclose(smooth, 0.9 * total - 0.1 * logits.log_softmax(-1).mean(-1).sum())


@pytest.mark.parametrize("seed", range(5))
def test_greedy_with_a_cache_writes_what_it_writes_without(seed):
    one = model(seed)
    ids = greedy(one, SOURCE, 7)
    for b, x in enumerate(([5, 6, 10], [7])):
        row = [BOS]
        while len(row) < 8 and row[-1] != EOS:
            logits = one(torch.tensor([x]), torch.tensor([row]))[0, -1]
            logits[[PAD, BOS]] = -torch.inf
            row.append(int(logits.argmax()))
        assert ids[b].tolist() == (row[1:] + [PAD] * 7)[: ids.shape[1]]
    assert ids.shape[1] == 7 or (ids == EOS).any(1).all()


def test_weights_of_cross_attention_leave_padding_out():
    w = cross_weights(model(), SOURCE, TARGET)
    assert w.shape == (2, 4, 3) and torch.allclose(w.sum(-1), torch.ones(2, 4).double())
    assert (w[1, :, 1:] == 0).all() and (w[0] > 0).all()


def test_an_unknown_word_is_copied_from_where_the_model_looks(monkeypatch):
    one = model()
    source = Vocabulary.of([[" tool", " for", " b", " c", " d", " e", " f"]])
    target = Vocabulary.of([[" outil", " de", " x", " y", " z"]])
    ids = torch.tensor([[4, UNK, EOS]])
    monkeypatch.setattr("lib.tasks.translate_transformer.greedy", lambda *_: ids)
    looked = cross_weights(one, torch.tensor([source.encode([" xyz", " tool"])]), torch.tensor([[BOS, 4, UNK]]))
    word = [" xyz", " tool"][int(looked[0, 1].argmax())]
    assert translations(one, [[" xyz", " tool"]], source, target, True, written) == [target.symbols[4].strip() + word]
    assert translations(one, [[" xyz", " tool"]], source, target, False, written) == [target.symbols[4].strip()]
