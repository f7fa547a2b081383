"""DistilBERT: half of BERT's blocks, taught to answer as BERT does. No types, no second task."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F

from lib.heads import MaskedLM, OfSequence, OfTokens, Span, States
from lib.layout import ACTS, Head, Layout, one_of, register, within
from lib.spec import add
from lib.zoo.bert import bert

distilbert = add(
    bert.but(name="distilbert", parent="bert", paper="arXiv:1910.01108", n_types=0, n_layers=6, head=MaskedLM)
)

OfSequenceReLU = partial(OfSequence, act=F.relu)

fields = {
    "n_vocab": "vocab_size", "n_positions": "max_position_embeddings", "n_layers": "n_layers", "n_heads": "n_heads",
    "d_model": "dim", "d_ff": "hidden_dim", "p_dropout": "dropout", "p_attend": "attention_dropout",
    "std": "initializer_range", "act": one_of("activation", ACTS),
}  # fmt: skip
body = (
    ("embed.tokens", "embeddings.word_embeddings"), ("embed.norm", "embeddings.LayerNorm"),
    ("embed.pos", "embeddings.position_embeddings"),
    *within("stack.blocks.{}.", "transformer.layer.{}.", (
        ("mix.q", "attention.q_lin"), ("mix.k", "attention.k_lin"), ("mix.v", "attention.v_lin"),
        ("mix.out", "attention.out_lin"), ("add_mix.norm", "sa_layer_norm"),
        ("ff.up", "ffn.lin1"), ("ff.down", "ffn.lin2"), ("add_ff.norm", "output_layer_norm"),
    )),
)  # fmt: skip
words = ("", "vocab_projector"), ("dense", "vocab_transform"), ("norm", "vocab_layer_norm")
heads = (
    Head("DistilBertForMaskedLM", MaskedLM, words, tied=True),
    Head(
        "DistilBertForSequenceClassification", OfSequenceReLU, (("pool.dense", "pre_classifier"), ("out", "classifier"))
    ),
    Head("DistilBertForTokenClassification", OfTokens, (("out", "classifier"),)),
    Head("DistilBertForQuestionAnswering", Span, (("out", "qa_outputs"),)),
    Head("DistilBertModel", States),
)
layout = register(
    Layout(
        "distilbert", distilbert, "DistilBertModel", "distilbert.", fields, within("", "distilbert.", body),
        heads, fixed={"sinusoidal_pos_embds": False}, harmless=("qa_dropout", "seq_classif_dropout", "tie_weights_"),
        dropped=("distilbert.embeddings.position_ids", "vocab_projector.weight"),
    )
)  # fmt: skip
