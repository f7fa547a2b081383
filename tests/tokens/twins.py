"""The same tokenizer twice: ours, and the Rust library's from the file that ours saves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from lib.tokens.base import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<|end|>"]


def rust_of(tokenizer: Tokenizer) -> Rust:
    """The Rust library's tokenizer from a file of ours."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(path)
        return Rust.from_file(str(path))


def model_of(rust: Rust) -> dict:
    """Its vocabulary and merges, as its own file states them."""
    return json.loads(rust.to_str())["model"]


def columns(encoding) -> tuple[list, ...]:
    """Everything an encoding of either library holds.

    In the Rust library parts that overflow may overflow once more; those repeat what the first list has.
    """
    return (*row(encoding), list(map(row, encoding.overflowing)))


def row(encoding) -> tuple[list, ...]:
    """An encoding without what overflows."""
    if hasattr(encoding, "type_ids"):
        rest = (encoding.type_ids, encoding.special_tokens_mask, encoding.attention_mask)
    else:
        rest = (encoding.types, encoding.special, encoding.mask)
    return (encoding.ids, encoding.offsets, *rest)


def unlike(ours: Tokenizer, theirs: Rust, texts: Iterable[str]) -> list[str]:
    """The texts whose ids, spans, types, masks, overflowing parts or decoded ids differ."""
    return [
        text
        for text in texts
        if columns(ours.encode(text)) != columns(theirs.encode(text))
        or ours.decode(ours.encode(text).ids) != theirs.decode(theirs.encode(text).ids)
    ]


def rust_bpe(texts: list[str], n_vocab: int, specials: Iterable[str] = (), least: int = 0) -> Rust:
    """Byte-level BPE, trained by the Rust library."""
    rust = Rust(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    rust.train_from_iterator(texts, trainer_of(n_vocab, specials, least))
    return rust


def trainer_of(n_vocab: int, specials: Iterable[str] = (), least: int = 0) -> trainers.BpeTrainer:
    """The Rust library's trainer of byte-level BPE."""
    return trainers.BpeTrainer(
        vocab_size=n_vocab,
        min_frequency=least,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )


def rust_wordpiece(texts: list[str], n_vocab: int, specials: Iterable[str] = (), least: int = 0) -> Rust:
    """WordPiece over BERT's words, trained by the Rust library."""
    rust = Rust(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer, rust.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=n_vocab, min_frequency=least, special_tokens=list(specials), show_progress=False
    )
    rust.train_from_iterator(texts, trainer)
    return rust
