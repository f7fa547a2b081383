"""What is claimed of `lib.tokens`: the share of texts on which it differs from the Rust library, or of merges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lib.tokens.bpe import BPE
from tests.claims import Claim
from tests.tokens.corpus import TEXTS, TRAINING, shuffled
from tests.tokens.twins import SPECIALS, model_of, rust_bpe, rust_of, unlike

ALL = TEXTS + shuffled(500)


def share(part: int, whole: int) -> float:
    """What differs, out of all; a claim of this list is that it is nothing."""
    assert part == 0, f"{part} of {whole} differ from the Rust library's"
    return part / whole


def encoding_error(train: Callable) -> float:
    ours = train(TRAINING, 900, specials=SPECIALS)
    return share(len(unlike(ours, rust_of(ours), ALL)), len(ALL))


def bpe_training_error() -> float:
    ours, theirs = BPE.train(TRAINING, 900, specials=SPECIALS), model_of(rust_bpe(TRAINING, 900, SPECIALS))
    apart = sum(list(a) != b for a, b in zip(ours.merges, theirs["merges"], strict=True))
    return share(apart + len(set(ours.ids.items()) ^ set(theirs["vocab"].items())), len(ours))


RUST = "tokenizers (Rust)"
CLAIMS = [
    Claim("BPE: training", f"{RUST}: merges and vocabulary", 0.0, bpe_training_error),
    Claim("BPE: encoding", f"{RUST}: ids, spans, text over {len(ALL)} texts", 0.0, partial(encoding_error, BPE.train)),
]
