"""Sentences, and documents that stay on their side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.pretrain.documents import sentences, split_documents, without_copies

CUT = [
    "It rained. | We stayed in.",
    "Mr. Smith and Mrs. J. R. Jones of Acme Inc. London met. | They spoke.",
    "The U.S. Army paid $3.50 a head, e.g. Monday. | So do I. | Nobody knew.",
    'He said: "Stop!" | "Why?" | (Nobody answered.) | Then "it" began.',
    "It rose 3.5% in 2004. | 20 people saw it... | Really?! | Yes.",
    "In Sept. 2004 a report, by Prof. Li et al. Nature, came at 5 p.m. on a Monday.",
    "no capital. follows here",
    "Ärger gab es. | Über alles.",
]


@pytest.mark.parametrize("text", CUT)
def test_sentences(text):
    assert sentences(text.replace(" | ", " ")) == text.split(" | ")


def test_a_line_break_ends_a_sentence():
    assert sentences("A headline\n\nIt rained.\r\n  More \n") == ["A headline", "It rained.", "More"]
    assert sentences(" \n ") == []


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="aB1 .!?\"'()\n", max_size=60))
def test_sentences_lose_nothing(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@settings(max_examples=50, deadline=None)
@given(n=st.integers(2, 60), seed=st.integers(0, 1000), share=st.floats(0.05, 0.95))
def test_no_document_is_on_two_sides(n, seed, share):
    documents = [[f"{i}a", f"{i}b"] for i in range(n)]
    if not 0 < round(n * share) < n:
        with pytest.raises(ValueError, match="leaves a side without any"):
            split_documents(documents, share, np.random.default_rng(seed))
        return
    train, held = split_documents(documents, share, np.random.default_rng(seed))
    assert sorted(train + held) == sorted(documents)
    assert len(held) == round(n * share)
    assert not {s for d in train for s in d} & {s for d in held for s in d}
    assert train == [d for d in documents if d in train]


def test_the_seed_decides_who_is_held_back():
    splits = [split_documents(range(50), 0.2, np.random.default_rng(seed))[1] for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_copies_of_held_documents_leave():
    report = " ".join(f"word{i}" for i in range(100))
    again, longer = report.upper().replace(" ", "\n"), f"Updated: {report} and more"
    quotes = " ".join(f"other{i}" for i in range(100)) + " " + " ".join(report.split()[:10])
    short = "too short to compare"
    assert without_copies([again, longer, quotes, short], [report]) == [quotes, short]
    assert without_copies([again, quotes, short], [report, short], most=0) == []
