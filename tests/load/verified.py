"""What is claimed of `lib.load`: models and tokenizers that went to `transformers`. The same in every run."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import transformers

from lib.heads import MaskedLM
from lib.load import save_pretrained, tokenizer_of
from lib.spec import get
from lib.stack import Model
from lib.tokens.base import Tokenizer
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.layout import Padding, Template
from lib.tokens.load import load
from lib.tokens.unigram import Unigram
from lib.tokens.wordpiece import WordPiece
from tests.attention.twins import biggest, shaken
from tests.claims import Claim
from tests.hf import exact
from tests.tokens.corpus import TEXTS, TRAINING
from tests.tokens.families import text_of

SIZES = {"n_positions": 1024, "n_layers": 2, "n_heads": 4, "d_model": 16, "d_ff": 24}
AUTO = {"gpt2": "CausalLM", "llama": "CausalLM", "bert": "MaskedLM", "distilbert": "MaskedLM", "roberta": "MaskedLM"}
BERT = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
TOLERANCE = 1e-10


@cache
def published(family: str) -> Tokenizer:
    """A tokenizer with the settings of a published file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(text_of(family), encoding="utf-8")
        return load(path)


PAIRS = {
    "characters": ("gpt2", lambda: Char.train([*TEXTS, *TRAINING], specials=["<pad>", "<|end|>"])),
    "characters, some unknown": ("gpt2", lambda: Char.train([*TEXTS[::2]], specials=["<unk>"], unknown="<unk>")),
    "bytes": ("gpt2", lambda: BPE.train(TRAINING, 300, specials=["<|endoftext|>"])),
    "bytes, padded": ("llama", lambda: BPE.train(TRAINING, 300, specials=["<pad>", "</s>"], padding=Padding("<pad>"))),
    "word pieces": ("bert", lambda: WordPiece.train(TRAINING, 500, template=Template(*BERT), padding=Padding("[PAD]"))),
    "word pieces, no types": ("distilbert", lambda: WordPiece.train(TRAINING, 500, template=Template(*BERT))),
    "unigram": ("llama", lambda: Unigram.train(TRAINING, 500, specials=["<unk>", "<s>"], template=Template("<s> $A"))),
    **{f"as {name}": (kind, partial(published, name)) for name, kind in (
        ("gpt2", "gpt2"), ("smollm2", "llama"), ("llama 3", "llama"), ("llama 2, older", "llama"),
        ("llama 2, first", "llama"), ("t5", "gpt2"), ("roberta", "roberta"), ("bert, cased", "bert"),
    )},
}  # fmt: skip
"""Every kind of tokenizer, trained here or published, each with a model that is found beside such a one."""


def model_for(tokenizer: Tokenizer | None, kind: str = "gpt2") -> Model:
    """Shaken, in float64, with three rows of the table to spare."""
    spec = get(kind).but(n_vocab=len(tokenizer) + 3 if tokenizer else 17, **SIZES)
    spec = spec.but(head=MaskedLM) if kind == "bert" else spec
    return shaken(Model(spec), np.random.default_rng(0)).eval()


def pair_error(which: str) -> float:
    """Logits of ours for a pair of texts, beside those of AutoModel for what AutoTokenizer makes of it.

    Both are read from the folder. AssertionError where ids or decoded texts differ in any of TEXTS.
    """
    kind, make = PAIRS[which]
    tokenizer = make()
    model = model_for(tokenizer, kind)
    with TemporaryDirectory() as folder:
        save_pretrained(model, folder, tokenizer)
        theirs, again = transformers.AutoTokenizer.from_pretrained(folder), tokenizer_of(folder)
        with exact():
            auto = getattr(transformers, f"AutoModelFor{AUTO[kind]}")
            network = auto.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    assert len(theirs) == len(tokenizer) == len(again)
    for text, other in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True):
        ids = tokenizer.encode(text).ids
        assert theirs(text).input_ids == ids == again.encode(text).ids, text
        if other:  # to theirs, a pair with an empty second text is no pair
            assert theirs(text, other).input_ids == tokenizer.encode(text, other).ids, (text, other)
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids), text
        assert theirs.decode(ids) == tokenizer.decode(ids, special=True), text
    pair = max(TEXTS, key=len), TEXTS[0]
    inputs, encoding = theirs(*pair, return_tensors="pt"), tokenizer.encode(*pair)
    assert ("token_type_ids" in inputs) == bool(model.spec.n_types)
    types = [torch.tensor([encoding.types])] if model.spec.n_types > 1 else []
    with torch.no_grad():
        y = model(torch.tensor([encoding.ids]), *types)
        with exact():
            return biggest([y], [network(**inputs).logits])


CLAIMS = [
    Claim(
        f"{kind} and its tokenizer: {which}",
        f"transformers: ids and texts of AutoTokenizer, logits of AutoModelFor{AUTO[kind]}, float64",
        TOLERANCE,
        partial(pair_error, which),
    )
    for which, (kind, _) in PAIRS.items()
]
