"""RoBERTa: BERT, trained longer on more text and without the second task.

Its published tables of positions begin with two rows that nothing looks up, so `layout` leaves them out.
"""

from __future__ import annotations

import torch.nn.functional as F

from lib.heads import MaskedLM, OfSequence, OfTokens, Pool, Span
from lib.layout import Head, Layout, Rule, one_of, register, rows_from, within
from lib.spec import add
from lib.zoo import bert

roberta = add(
    bert.bert.but(
        name="roberta",
        parent="bert",
        paper="arXiv:1907.11692",
        n_vocab=50265,
        n_types=1,
        eps=1e-5,
        head=MaskedLM,
    )
)

length = Rule(
    ("max_position_embeddings",),
    lambda config: config["max_position_embeddings"] - 2,
    lambda n, spec: {"max_position_embeddings": n + 2},
)
fields = bert.fields | {"n_positions": length, "act": one_of("hidden_act", {"gelu": F.gelu})}  # their head has no other
rest = tuple(key for key in bert.body if key[0] != "embed.pos")
keys = *within("", "roberta.", rest), ("embed.pos", "roberta.embeddings.position_embeddings", rows_from(2))
heads = (
    Head(
        "RobertaForMaskedLM", MaskedLM,
        (("", "lm_head"), ("dense", "lm_head.dense"), ("norm", "lm_head.layer_norm")), tied=True,
    ),
    Head(
        "RobertaForSequenceClassification", OfSequence,
        (("pool.dense", "classifier.dense"), ("out", "classifier.out_proj")),
    ),
    Head("RobertaForTokenClassification", OfTokens, (("out", "classifier"),)),
    Head("RobertaForQuestionAnswering", Span, (("out", "qa_outputs"),)),
    Head("RobertaModel", Pool, (("dense", "roberta.pooler.dense"),)),
)  # fmt: skip
layout = register(
    Layout(
        "roberta", roberta, "RobertaModel", "roberta.", fields, keys, heads,
        fixed=bert.only | {"pad_token_id": 1}, dropped=("roberta.embeddings.position_ids", "lm_head.decoder.*"),
    )
)  # fmt: skip
