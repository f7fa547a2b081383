"""Tokenizers as llama.cpp would have them, and those that it would cut otherwise: refused."""

from __future__ import annotations

import pytest

from lib.gguf import save_gguf, tokenizer_of
from lib.gguf.vocabulary import vocabulary
from lib.spec import get
from lib.stack import Model
from lib.tokens.added import Added
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.fallback import BYTES, FallbackBPE
from lib.tokens.layout import Template
from lib.tokens.unigram import Unigram
from tests.gguf import files

END = "<|end|>"
BYTE = BPE.train(["ab abc"], 260, specials=[END])


def bpe(**more) -> BPE:
    return BPE(BYTE.pieces, BYTE.merges, **({"specials": [END]} | more))


PIECES = ["<unk>", "<s>", "</s>", *BYTES, "▁", "a", "b", "ab", "▁a", "aba", "<tool>"]
MERGES = [("a", "b"), ("▁", "a"), ("ab", "a")]
SPECIALS = ["<unk>", "<s>", "</s>", Added("<tool>", special=False)]


def fallback(**more) -> FallbackBPE:
    choices = {"space": "normal", "specials": SPECIALS, "template": Template("<s> $A")} | more
    return FallbackBPE(PIECES, choices.pop("merges", MERGES), **choices)


def test_the_pieces_of_sentencepiece_have_scores_and_types():
    found = {key.removeprefix("tokenizer.ggml."): value for key, value in vocabulary(fallback(), 268).items()}
    n = 3 + 256
    assert found.pop("tokens") == [*PIECES, "[PAD266]", "[PAD267]"]
    assert found.pop("token_type") == [2, 3, 3, *[6] * 256, *[1] * 6, 4, 5, 5]
    scores = found.pop("scores")
    assert scores[:n] == [0.0] * n and scores[-3:] == [0.0] * 3
    assert dict(zip(PIECES[n:-1], scores[n:-3], strict=True)) == {
        "▁": -3.0, "a": -3.0, "b": -3.0, "ab": 0.0, "▁a": -1.0, "aba": -2.0,
    }  # fmt: skip
    assert found == {
        "model": "llama", "pre": "default", "add_space_prefix": True, "bos_token_id": 1, "eos_token_id": 2,
        "unknown_token_id": 0, "add_bos_token": True, "add_eos_token": False,
    }  # fmt: skip
    never = vocabulary(fallback(space="never", template=Template("<s> $A </s>")), 266)
    assert never["tokenizer.ggml.add_space_prefix"] is False and never["tokenizer.ggml.add_eos_token"] is True


TEXTS = ["", "a", " a", "aba", "ab aba  b", "baba", "a<tool>ab", "<s>ab</s>", "ä\n", "aaab a", "zo€"]


@pytest.mark.parametrize("space", ["normal", "never"])
@pytest.mark.parametrize("template", ["$A", "<s> $A", "<s> $A </s>"])
def test_sentencepiece_is_read_back(space, template, tmp_path):
    tokenizer = fallback(space=space, template=Template(template))
    model = Model(get("llama").but(n_vocab=268, n_positions=12, n_layers=1, n_heads=2, d_model=8, d_ff=8))
    save_gguf(model, tokenizer, tmp_path / "m.gguf")
    again = tokenizer_of(tmp_path / "m.gguf")
    assert isinstance(again, FallbackBPE)
    assert (again.pieces, again.merges, again.added) == (tokenizer.pieces, tokenizer.merges, tokenizer.added)
    for text in TEXTS:
        assert again.encode(text).ids == tokenizer.encode(text).ids, text
        ids = tokenizer.encode(text).ids
        assert again.decode(ids) == tokenizer.decode(ids), text


def test_the_higher_score_merges_first_wherever_it_stands_in_the_file(tmp_path):
    told = vocabulary(fallback(), 268)
    scores = told["tokenizer.ggml.scores"]
    ab, of_space = PIECES.index("ab"), PIECES.index("▁a")
    scores[ab], scores[of_space] = scores[of_space], scores[ab]
    files.write(tmp_path / "m.gguf", "llama", told, {})
    tokenizer = tokenizer_of(tmp_path / "m.gguf")
    assert tokenizer.merges[:2] == [("▁", "a"), ("a", "b")]
    assert [PIECES[i] for i in tokenizer.encode("ab").ids] == ["<s>", "▁a", "b"]
    del told["tokenizer.ggml.add_space_prefix"], told["tokenizer.ggml.add_bos_token"]
    files.write(tmp_path / "n.gguf", "llama", told, {})
    assert tokenizer_of(tmp_path / "n.gguf").encode("ab").ids == tokenizer.encode("ab").ids, "llama.cpp's defaults"


def test_sentencepiece_without_scores_is_said(tmp_path):
    told = vocabulary(fallback(), 268)
    del told["tokenizer.ggml.scores"]
    files.write(tmp_path / "m.gguf", "llama", told, {})
    with pytest.raises(ValueError, match=r"it lacks tokenizer\.ggml\.scores"):
        tokenizer_of(tmp_path / "m.gguf")


def test_what_stands_around_a_text():
    for single, bos, eos in (("$A", False, False), (f"{END} $A", True, False), (f"{END} $A {END}", True, True)):
        found = vocabulary(bpe(template=Template(single)), 260)
        assert (found["tokenizer.ggml.add_bos_token"], found["tokenizer.ggml.add_eos_token"]) == (bos, eos)
        assert found["tokenizer.ggml.bos_token_id"] == found["tokenizer.ggml.eos_token_id"] == 0


WRONG = {
    "characters": (lambda: Char.train(["abc"], specials=[END]), "a GGUF file of a Char is not written; BPE and"),
    "unigram": (lambda: Unigram.train(["ab ab"], 9, specials=["<unk>", "</s>"]), "of a Unigram is not written"),
    "no end": (lambda: bpe(specials=[]), "no special token ends a text: train with one, or tell which"),
    "no merges": (lambda: BPE.train([], 257, specials=[END]), "runs no tokenizer without a merge"),
    "other words": (lambda: bpe(splits=[r"\S+"]), "cuts words as published tokenizers do; this one has splits,"),
    "words that stay whole": (lambda: bpe(ignore_merges=True), "like none of gpt-2, smollm, llama-bpe"),
    "a space in front": (lambda: bpe(prefix_space=True), "ignore_merges or prefix_space like none"),
    "two at the beginning": (lambda: bpe(template=Template(f"{END} {END} $A")), r"puts in \['<|end|>', .* one token"),
    "spaces that belong to it": (lambda: bpe(specials=[Added(END, lstrip=True)]), f"{END!r} has lstrip, which"),
    "a word by itself": (lambda: bpe(specials=[Added(END, single_word=True)]), "has single_word, which llama.cpp"),
    "a space at the first": (lambda: fallback(space="first"), "or before none, not as space='first'"),
    "a space but not twice": (lambda: fallback(space="always"), "or before none, not as space='always'"),
    "a merge too few": (lambda: fallback(merges=MERGES[1:2]), "merges any two pieces whose whole .* also 'a' and 'b'"),
    "pieces out of turn": (
        lambda: FallbackBPE(
            [*PIECES, "ba"], [("a", "b"), ("ab", "a"), ("b", "a"), ("▁", "a"), ("a", "ba")], space="normal",
            specials=SPECIALS,
        ), "ranks pieces, not pairs; the merges into one piece should follow one another",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_llama_cpp_would_cut_otherwise_is_refused(what):
    make, said = WRONG[what]
    with pytest.raises(ValueError, match=said):
        vocabulary(make(), 300)
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ pieces, but the model's table only n_vocab=3"):
        vocabulary(make(), 3)
