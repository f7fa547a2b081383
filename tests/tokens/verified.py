"""What is claimed of `lib.tokens`: the share of texts on which it differs from the Rust library, or of merges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer as Rust

from lib.tokens import bert
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.layout import Padding, Template, Truncation
from lib.tokens.load import load
from lib.tokens.unigram import Unigram
from lib.tokens.wordpiece import PREFIX, WordPiece, grow
from tests.claims import Claim
from tests.tokens.corpus import TEXTS, TRAINING, shuffled
from tests.tokens.families import FAMILIES, text_of
from tests.tokens.twins import SPECIALS, columns, model_of, rust_bpe, rust_of, rust_wordpiece, unlike
from tests.tokens.ways import best_error, sums_error

ALL = TEXTS + shuffled(500)
BERT = Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")


def share(part: int, whole: int) -> float:
    """What differs, out of all; a claim of this list is that it is nothing."""
    assert part == 0, f"{part} of {whole} differ from the Rust library's"
    return part / whole


def encoding_error(train: Callable, specials: list[str] = SPECIALS) -> float:
    ours = train(TRAINING, 1200, specials=specials)
    return share(len(unlike(ours, rust_of(ours), ALL)), len(ALL))


def char_error() -> float:
    ours = Char.train(TRAINING, specials=SPECIALS, unknown="[UNK]")
    return share(len(unlike(ours, rust_of(ours), ALL)), len(ALL))


def bpe_training_error() -> float:
    ours, theirs = BPE.train(TRAINING, 900, specials=SPECIALS), model_of(rust_bpe(TRAINING, 900, SPECIALS))
    apart = sum(list(a) != b for a, b in zip(ours.merges, theirs["merges"], strict=True))
    return share(apart + len(set(ours.ids.items()) ^ set(theirs["vocab"].items())), len(ours))


def wordpiece_training_error() -> float:
    """Beside theirs from theirs on: the Rust trainer draws the order of characters inside words anew in every run."""
    vocabulary = model_of(rust_wordpiece(TRAINING, 1200, SPECIALS))["vocab"]
    theirs = sorted(vocabulary, key=vocabulary.__getitem__)
    n_first = len(SPECIALS) + sum(len(piece.removeprefix(PREFIX)) == 1 for piece in theirs)
    totals = Counter(word for text in TRAINING for word in bert.WORDS.findall(bert.normalise(text, True)[0]))
    ours = grow(theirs[:n_first], totals, 1200, 0)
    return share(sum(a != b for a, b in zip(ours, theirs, strict=True)), len(theirs))


def family_error(family: str) -> float:
    """A file of theirs with a published family's settings, read by both."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(text_of(family), encoding="utf-8")
        ours, theirs = load(path), Rust.from_file(str(path))
    texts = ALL + [f"a {special} b{special}{special} \n" for special in ours.specials]
    return share(len(unlike(ours, theirs, texts)), len(texts))


def overflow_error() -> float:
    """Truncation with a stride, over strategies, sides, lengths and strides; and padding of all that overflows."""
    tokenizer = BPE.train(TRAINING, 900, specials=SPECIALS)
    pairs, apart, n = list(zip(TEXTS[::6], TEXTS[3::6], strict=False)), 0, 0
    for strategy, side, (length, stride) in product(
        ("longest_first", "only_first", "only_second"), ("left", "right"), ((30, 0), (40, 9), (300, 40))
    ):
        shared = {"truncation": Truncation(length, strategy, side, stride), "padding": Padding("[PAD]", side=side)}
        ours = BPE(tokenizer.pieces, tokenizer.merges, specials=SPECIALS, template=BERT, **shared)
        theirs = rust_of(ours)
        for a, b in pairs:
            try:
                found = columns(ours.encode(a, b))
            except (
                ValueError
            ):  # the text that may not be cut is too long; tests hold the Rust library to refuse as well
                continue
            apart, n = apart + (found != columns(theirs.encode(a, b))), n + 1
    assert n > 100
    return share(apart, n)


RUST = "tokenizers (Rust)"
ENCODING = f"{RUST}: ids, spans, types, masks, decoded text of {len(ALL)} texts"
WAYS = "every way to cut a word, one by one: score, log-probability, counts"
CLAIMS = [
    Claim("BPE: training", f"{RUST}: merges and vocabulary", 0.0, bpe_training_error),
    Claim("BPE: encoding", ENCODING, 0.0, partial(encoding_error, BPE.train)),
    Claim("WordPiece: training, from one order of characters", f"{RUST}: vocabulary", 0.0, wordpiece_training_error),
    Claim("WordPiece: encoding", ENCODING, 0.0, partial(encoding_error, WordPiece.train)),
    Claim("Unigram: best path (Viterbi)", WAYS, 1e-10, best_error),
    Claim("Unigram: expected counts (E-step)", WAYS, 1e-10, sums_error),
    Claim("Char: encoding", ENCODING, 0.0, char_error),
    Claim("Unigram: encoding", ENCODING, 0.0, partial(encoding_error, Unigram.train, ["<unk>", "<|end|>"])),
    *(
        Claim(f"a file of {family}", f"{ENCODING} and its special tokens", 0.0, partial(family_error, family))
        for family in FAMILIES
    ),
    Claim("truncation with a stride, padding", f"{RUST}: all parts of pairs of texts", 0.0, overflow_error),
]
