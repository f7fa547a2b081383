"""BERT: the encoder of 2017 by itself. Everyone sees everyone, so it learns by filling gaps, not by going on."""

from __future__ import annotations

import torch.nn.functional as F

from lib.attention.masks import full
from lib.heads import MaskedLM, NextSentence, OfSequence, OfTokens, Pool, Pretraining, Span
from lib.layers.embed import Normed, learned
from lib.layout import ACTS, Head, Layout, one_of, register, within
from lib.spec import add
from lib.stack import Block, Single, normal
from lib.zoo.transformer import transformer

bert = add(
    transformer.but(
        name="bert", parent="transformer", paper="arXiv:1810.04805", n_vocab=30522, n_positions=512, n_types=2,
        n_layers=12, n_heads=12, d_model=768, d_ff=3072, eps=1e-12, p_attend=0.1, embed=Normed, pos=learned,
        mask=full, act=F.gelu, block=Block, body=Single, head=Pretraining, init=normal,
    )
)  # fmt: skip

fields = {
    "n_vocab": "vocab_size", "n_positions": "max_position_embeddings", "n_types": "type_vocab_size",
    "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "d_model": "hidden_size",
    "d_ff": "intermediate_size", "eps": "layer_norm_eps", "std": "initializer_range",
    "p_dropout": "hidden_dropout_prob", "p_attend": "attention_probs_dropout_prob", "act": one_of("hidden_act", ACTS),
}  # fmt: skip
body = (
    ("embed.tokens", "embeddings.word_embeddings"), ("embed.types", "embeddings.token_type_embeddings"),
    ("embed.norm", "embeddings.LayerNorm"), ("embed.pos", "embeddings.position_embeddings"),
    *within("stack.blocks.{}.", "encoder.layer.{}.", (
        ("mix.q", "attention.self.query"), ("mix.k", "attention.self.key"), ("mix.v", "attention.self.value"),
        ("mix.out", "attention.output.dense"), ("add_mix.norm", "attention.output.LayerNorm"),
        ("ff.up", "intermediate.dense"), ("ff.down", "output.dense"), ("add_ff.norm", "output.LayerNorm"),
    )),
)  # fmt: skip
words = ("", "predictions"), ("dense", "predictions.transform.dense"), ("norm", "predictions.transform.LayerNorm")
words = within("", "cls.", words)
pool, out = ("dense", "bert.pooler.dense"), ("out", "classifier")
pair = (*within("pool.", "", (pool,)), ("out", "cls.seq_relationship"))
heads = (
    Head("BertForPreTraining", Pretraining, within("tokens.", "", words) + within("sentence.", "", pair), tied=True),
    Head("BertForMaskedLM", MaskedLM, words, tied=True),
    Head("BertForNextSentencePrediction", NextSentence, pair),
    Head("BertForSequenceClassification", OfSequence, (*within("pool.", "", (pool,)), out)),
    Head("BertForTokenClassification", OfTokens, (out,)),
    Head("BertForQuestionAnswering", Span, (("out", "qa_outputs"),)),
    Head("BertModel", Pool, (pool,)),
)
only = {
    "is_decoder": False, "add_cross_attention": False, "classifier_dropout": None, "position_embedding_type": "absolute"
}  # fmt: skip
layout = register(
    Layout(
        "bert", bert, "BertModel", "bert.", fields, within("", "bert.", body), heads, fixed=only,
        harmless=("directionality", "pooler_*"), dropped=("bert.embeddings.position_ids", "cls.predictions.decoder.*"),
    )
)  # fmt: skip
