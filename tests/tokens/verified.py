"""What is claimed of `lib.tokens`: the share of texts on which it differs from the Rust library, or of merges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from lib.tokens import bert
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.unigram import Unigram
from lib.tokens.wordpiece import PREFIX, WordPiece, grow
from tests.claims import Claim
from tests.tokens.corpus import TEXTS, TRAINING, shuffled
from tests.tokens.twins import SPECIALS, model_of, rust_bpe, rust_of, rust_wordpiece, unlike
from tests.tokens.ways import best_error, sums_error

ALL = TEXTS + shuffled(500)


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
]
