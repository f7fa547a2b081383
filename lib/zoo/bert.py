"""BERT: the encoder of 2017 by itself. Everyone sees everyone, so it learns by filling gaps, not by going on."""

from __future__ import annotations

import torch.nn.functional as F

from lib.attention.masks import full
from lib.heads import MaskedLM, NextSentence, OfSequence, OfTokens, Pool, Pretraining, Span
from lib.layers.embed import Normed, learned
from lib.layout import ACTS, Head, Layout, one_of, register, under
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
keys = (
    ("embed.tokens", "bert.embeddings.word_embeddings"),
    ("embed.types", "bert.embeddings.token_type_embeddings"),
    ("embed.norm", "bert.embeddings.LayerNorm"),
    ("embed.pos", "bert.embeddings.position_embeddings"),
    ("stack.blocks.{}.mix.q", "bert.encoder.layer.{}.attention.self.query"),
    ("stack.blocks.{}.mix.k", "bert.encoder.layer.{}.attention.self.key"),
    ("stack.blocks.{}.mix.v", "bert.encoder.layer.{}.attention.self.value"),
    ("stack.blocks.{}.mix.out", "bert.encoder.layer.{}.attention.output.dense"),
    ("stack.blocks.{}.add_mix.norm", "bert.encoder.layer.{}.attention.output.LayerNorm"),
    ("stack.blocks.{}.ff.up", "bert.encoder.layer.{}.intermediate.dense"),
    ("stack.blocks.{}.ff.down", "bert.encoder.layer.{}.output.dense"),
    ("stack.blocks.{}.add_ff.norm", "bert.encoder.layer.{}.output.LayerNorm"),
)
words = (
    ("", "cls.predictions"), ("dense", "cls.predictions.transform.dense"),
    ("norm", "cls.predictions.transform.LayerNorm"),
)  # fmt: skip
pool, out = ("dense", "bert.pooler.dense"), ("out", "classifier")
pair = (*under("pool", (pool,)), ("out", "cls.seq_relationship"))
heads = (
    Head("BertForPreTraining", Pretraining, under("tokens", words) + under("sentence", pair), tied=True),
    Head("BertForMaskedLM", MaskedLM, words, tied=True),
    Head("BertForNextSentencePrediction", NextSentence, pair),
    Head("BertForSequenceClassification", OfSequence, (*under("pool", (pool,)), out)),
    Head("BertForTokenClassification", OfTokens, (out,)),
    Head("BertForQuestionAnswering", Span, (("out", "qa_outputs"),)),
    Head("BertModel", Pool, (pool,)),
)
only = {"is_decoder": False, "add_cross_attention": False, "classifier_dropout": None}
only |= {"position_embedding_type": "absolute", "chunk_size_feed_forward": 0}
layout = register(
    Layout(
        "bert", bert, "BertModel", "bert.", fields, keys, heads, fixed=only,
        harmless=("directionality", "pooler_*"), dropped=("bert.embeddings.position_ids", "cls.predictions.decoder.*"),
    )
)  # fmt: skip
