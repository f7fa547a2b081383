"""A tokenizer as the metadata of a GGUF file: tokenizer.ggml.model, .tokens, .merges and so on.

llama.cpp has a tokenizer of its own for each way to cut a text, and the file says which:

    BPE            "gpt2", with the merges, and a name in tokenizer.ggml.pre for how words are cut
    FallbackBPE    "llama", SentencePiece's: of two neighbours whose whole is a piece, those of the highest score merge

What a tokenizer does otherwise is a ValueError: a file that is cut otherwise than the model was trained on would run,
and write nonsense. The names: src/llama-vocab.cpp in ggml-org/llama.cpp.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from lib.gguf.names import WORDS
from lib.shapes import require
from lib.tokens.base import Tokenizer
from lib.tokens.bpe import BPE
from lib.tokens.fallback import BYTES, FallbackBPE
from lib.tokens.roles import roles

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Of tokenizer.ggml.token_type. Decoding leaves out the special tokens but USER_DEFINED ones."""
ADDED = UNKNOWN, CONTROL, USER_DEFINED
"""Special tokens."""
IDS = {
    "bos_token_id": "bos_token",
    "eos_token_id": "eos_token",
    "unknown_token_id": "unk_token",
    "padding_token_id": "pad_token",
}


def vocabulary(tokenizer: Tokenizer, n_vocab: int, **told: str) -> dict[str, Any]:
    """The metadata. n_vocab: rows of the model's table; each has a token, the last ones one that is never used."""
    n = len(tokenizer)
    require(n <= n_vocab, f"the tokenizer has {n} pieces, but the model's table only n_vocab={n_vocab}")
    if isinstance(tokenizer, BPE):
        own = _bytes(tokenizer)
    elif isinstance(tokenizer, FallbackBPE):
        own = _sentencepiece(tokenizer)
    else:
        kind = type(tokenizer).__name__
        raise ValueError(f"a GGUF file of a {kind} is not written; BPE and FallbackBPE are, which llama.cpp has too")
    around = _around(tokenizer)
    found = roles(tokenizer, **told) | around
    types = [_type(tokenizer, piece, found) for piece in tokenizer.pieces] + [UNUSED] * (n_vocab - n)
    tokens = [*tokenizer.pieces, *(f"[PAD{i}]" for i in range(n, n_vocab))]
    if "scores" in own:
        own["scores"] += [0.0] * (n_vocab - n)
    ids = {name: tokenizer.id_of(found[role]) for name, role in IDS.items() if role in found}
    # without one, llama.cpp takes token 11 or 2 for it, whatever they are
    require("eos_token_id" in ids, "no special token ends a text: train with one, or tell which: eos_token='<|end|>'")
    added = {f"add_{role}": role in around for role in ("bos_token", "eos_token")}
    metadata = own | {"tokens": tokens, "token_type": types} | ids | added
    return {f"tokenizer.ggml.{name}": value for name, value in metadata.items()}


def _bytes(tokenizer: BPE) -> dict[str, Any]:
    ways = {way: pre for pre, way in WORDS.items()}
    pre = ways.get((tokenizer.splits, tokenizer.ignore_merges))
    require(
        pre is not None and not tokenizer.prefix_space,
        "llama.cpp cuts words as published tokenizers do; this one has splits, ignore_merges or prefix_space like none "
        f"of {', '.join(WORDS)} (lib.gguf.names.WORDS)",
    )
    require(bool(tokenizer.merges), "llama.cpp runs no tokenizer without a merge: train one with a larger n_vocab")
    return {"model": "gpt2", "pre": pre, "merges": [" ".join(pair) for pair in tokenizer.merges]}


def _sentencepiece(tokenizer: FallbackBPE) -> dict[str, Any]:
    """Scores in place of merges: a piece scores the higher, the earlier it is merged."""
    spaces = {"normal": True, "never": False}
    require(
        tokenizer.space in spaces,
        f"llama.cpp puts a space before every stretch of text or before none, not as space={tokenizer.space!r}",
    )
    made = [a + b for a, b in tokenizer.merges]
    order = {piece: i for i, piece in enumerate(dict.fromkeys(made))}
    ordered = all(order[a] <= order[b] for a, b in pairwise(made))
    require(ordered, "llama.cpp ranks pieces, not pairs; the merges into one piece should follow one another")
    plain = {piece for piece in tokenizer.own if piece not in BYTES and piece not in tokenizer.added}
    splits = {(piece[:i], piece[i:]) for piece in plain for i in range(1, len(piece))}
    lacking = {pair for pair in splits if plain.issuperset(pair)} - {*tokenizer.merges}
    extra = " and ".join(map(repr, min(lacking, default=())))
    require(not lacking, f"llama.cpp merges any two pieces whose whole is a piece, also {extra}; this one does not")
    scores = [-float(order.get(piece, len(order) if piece in plain else 0)) for piece in tokenizer.pieces]
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": spaces[tokenizer.space]}


def _type(tokenizer: Tokenizer, piece: str, found: dict[str, str]) -> int:
    if piece == found.get("unk_token"):
        return UNKNOWN
    if token := tokenizer.added.get(piece):
        odd = [name for name in ("lstrip", "rstrip", "single_word") if getattr(token, name)]
        require(not odd, f"the special token {piece!r} has {', '.join(odd)}, which llama.cpp has no word for")
        return CONTROL if token.special else USER_DEFINED
    return BYTE if isinstance(tokenizer, FallbackBPE) and piece in BYTES else NORMAL


def _around(tokenizer: Tokenizer) -> dict[str, str]:
    """The tokens that the template puts around one text, by their role."""
    names = [name for name, _ in tokenizer.template.single]
    at = names.index("$A")
    sides = {"bos_token": names[:at], "eos_token": names[at + 1 :]}
    for put in sides.values():
        require(len(put) <= 1, f"the template puts in {put}; llama.cpp puts one token at most on each side of a text")
    return {role: put[0] for role, put in sides.items() if put}
