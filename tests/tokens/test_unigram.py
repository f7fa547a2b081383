"""Unigram: Viterbi beside the Rust library; sums, samples and training beside all the ways there are to cut a word."""

import json
import math
from collections import Counter
from pydoc_data.topics import topics

import numpy as np
import pytest
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, pre_tokenizers, trainers

from lib.tokens.em import expect, learn, maximise, prune, seeds
from lib.tokens.lattice import best, draw, expected, lattice
from lib.tokens.load import load
from lib.tokens.unigram import Unigram, words
from tests.tokens.corpus import CODE, ENGLISH, FRENCH, TEXTS, TRAINING, shuffled
from tests.tokens.twins import rust_of, unlike
from tests.tokens.ways import cases, counts_in_all_ways, cut, lattice_of, ways

SPECIALS = ["<unk>", "<s>", "<|end|>"]
OURS = Unigram.train(TRAINING, 700, specials=SPECIALS)


def rust_trained(texts, n_vocab) -> Rust:
    rust = Rust(models.Unigram())
    rust.pre_tokenizer, rust.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=n_vocab, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
    )
    rust.train_from_iterator(texts, trainer)
    return rust


def test_ids_spans_and_text_are_those_of_the_rust_library():
    assert unlike(OURS, rust_of(OURS), [*TEXTS, *shuffled(300), "▁the quick", " ▁ the", "▁"]) == []
    few = Unigram.train([ENGLISH], 150, specials=SPECIALS)  # most characters of the others are unknown to it
    assert unlike(few, rust_of(few), TEXTS + shuffled(300)) == []


def test_an_unknown_character_scores_ten_less_than_the_worst_piece():
    """Cut as ▁ + ax it scores -8; as ▁a + unknown 2 - 4 - 10, where half the penalty would win with -7."""
    tokenizer = Unigram(["<unk>", "▁", "ax", "▁a"], [0.0, -4.0, -4.0, 2.0])
    assert tokenizer.encode("ax").ids == rust_of(tokenizer).encode("ax").ids == [1, 2]


def test_the_best_path_is_the_best_of_all_ways():
    for word, scores in cases():
        all_ways = ways(word, scores)
        pieces, ends = lattice_of(word, scores)
        assert cut(pieces, best(ends)) == max(all_ways, key=all_ways.__getitem__)


def test_expectations_are_sums_over_all_ways():
    for word, scores in cases():
        counts = counts_in_all_ways(word, scores)[1]
        assert expect(Counter({word: 3}), scores) == pytest.approx({p: 3 * counts[p] for p in scores}, abs=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_samples_come_as_often_as_their_probability_says(alpha):
    word, scores = "abab", {"a": -1.0, "b": -2.0, "ab": -2.5, "aba": -3.0, "bab": -5.0}
    pieces, ends = lattice_of(word, scores)
    chances = {way: math.exp(alpha * score) for way, score in ways(word, scores).items()}
    n, rng = 4_000, np.random.default_rng(0)
    drawn = Counter(cut(pieces, draw(ends, alpha, rng)) for _ in range(n))
    assert drawn.keys() <= chances.keys()
    for way, chance in chances.items():
        p = chance / sum(chances.values())
        assert abs(drawn[way] - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_samples_of_a_text_are_ways_to_cut_it():
    rng = np.random.default_rng(0)
    drawn = {tuple(OURS.sample("the quick brown fox", 0.3, rng)) for _ in range(20)}
    assert len(drawn) > 5
    assert {OURS.decode(ids) for ids in drawn} == {"the quick brown fox"}
    assert OURS.sample("the quick", 200.0, rng) == OURS.encode("the quick").ids


def test_expectation_maximisation_never_makes_the_text_less_likely():
    """With log in place of digamma it is EM proper, which cannot; digamma is held to its definition."""
    totals = Counter(word for word in words(ENGLISH))
    characters = {character for word in totals for character in word}
    scores = seeds(totals, characters, 500)
    likelihoods = []
    for _ in range(6):
        pieces = {piece: (i, score) for i, (piece, score) in enumerate(scores.items())}
        likelihoods.append(sum(n * expected(lattice(w, pieces, 16, (-1, -100.0)))[0] for w, n in totals.items()))
        counts = expect(totals, scores)
        scores = {piece: math.log(max(count, 1e-9) / sum(counts.values())) for piece, count in counts.items()}
    assert likelihoods == sorted(likelihoods)


def test_the_m_step_drops_what_is_hardly_expected_but_no_character():
    scores = maximise({"a": 0.1, "ab": 0.4, "abc": 2.0, "b": 7.0}, {"a", "b"}, 0)
    assert list(scores) == ["a", "abc", "b"]
    digamma = {0.5: -1.9635100260214235, 2.0: 0.42278433509846714, 7.0: 1.8727843350984671, 9.5: 2.1977378764029885}
    assert scores == pytest.approx(
        {"a": digamma[0.5] - digamma[9.5], "abc": digamma[2] - digamma[9.5], "b": digamma[7] - digamma[9.5]}
    )


def test_the_m_step_drops_no_more_than_are_too_many():
    counts = {"a": 0.1, "ab": 0.4, "ba": 0.3, "bab": 0.4, "b": 7.0}
    assert [list(maximise(counts, {"a", "b"}, n)) for n in (3, 4, 9)] == [
        ["a", "bab", "b"],
        ["a", "ab", "bab", "b"],
        list(counts),
    ]


def test_training_leaves_as_many_pieces_as_were_asked_for():
    """Of so short a text most pieces are expected less than half a time; no more are dropped than are too many."""
    for texts, n in (([ENGLISH], 120), ([ENGLISH, FRENCH], 200), ([ENGLISH, CODE], 240)):
        assert len(Unigram.train(texts, n)) == n


def test_seeds_are_the_characters_and_what_covers_most_of_the_text():
    """abcd covers 20 characters, abc and bcd 15, ab 14 though it occurs more often; xyz occurs once."""
    found = seeds(Counter({"abcd": 5, "ab": 2, "xyz": 1}), set("abcdxyz"), 10)
    counts = {"a": 7, "b": 7, "c": 5, "d": 5, "x": 1, "y": 1, "z": 1, "abcd": 5, "abc": 5, "bcd": 5}
    assert found == pytest.approx({piece: math.log(n / sum(counts.values())) for piece, n in counts.items()})


def test_where_nothing_has_to_go_learning_is_two_rounds_of_expectation_maximisation():
    totals = Counter(words(ENGLISH))
    characters = {character for word in totals for character in word}
    scores = seeds(totals, characters, 10_000)
    for _ in range(2):
        scores = maximise(expect(totals, scores), characters, 1_000)
    assert learn(totals, 1_000) == scores


def test_pruning_keeps_the_characters_and_what_costs_most():
    scores = {"a": -3.0, "b": -3.0, "ab": -3.5, "abab": -7.1, "ba": -3.2}
    kept = prune(Counter({"ab": 5, "abab": 2, "ba": 1}), scores, {"a", "b"}, 3)
    assert kept == {"a": -3.0, "b": -3.0, "ab": -3.5}


def test_text_that_was_not_trained_on_is_as_likely_as_under_the_rust_trainers_pieces(tmp_path):
    """The two begin with other seeds, so that pieces differ; what counts is how they fit Python's own help texts."""
    helps = [" ".join(topics[name].split()) for name in sorted(topics)]
    train, held_out = " ".join(helps[::2])[:40_000], " ".join(helps[1::2])[:50_000]
    rust_trained([train], 400).save(str(tmp_path / "theirs.json"))
    ours, theirs = Unigram.train([train], 400, specials=SPECIALS), load(tmp_path / "theirs.json")
    ids = [tokenizer.encode(held_out).ids for tokenizer in (ours, theirs)]
    assert len(ours) == len(theirs) == 400
    assert len(ids[0]) < 1.05 * len(ids[1])
    assert -sum(ours.scores[i] for i in ids[0]) < -1.02 * sum(theirs.scores[i] for i in ids[1])


def test_a_file_of_theirs_gives_the_same_ids_and_ours_comes_back(tmp_path):
    theirs = rust_trained(TRAINING, 700)
    theirs.save(str(tmp_path / "theirs.json"))
    assert unlike(load(tmp_path / "theirs.json"), theirs, TEXTS) == []
    OURS.save(tmp_path / "ours.json")
    again = load(tmp_path / "ours.json")
    assert [again.encode(text) for text in TEXTS] == [OURS.encode(text) for text in TEXTS]


def test_special_tokens_that_their_file_adds_after_the_vocabulary(tmp_path):
    theirs = rust_trained([ENGLISH], 120)
    theirs.add_special_tokens(["<|user|>"])
    theirs.save(str(tmp_path / "theirs.json"))
    assert unlike(load(tmp_path / "theirs.json"), theirs, ["<|user|>Hello <|end|> you", "<|user|>"]) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("vocab", [["a"]], "a list of pairs"),
        ("unk_id", None, "model.unk_id is None; it should be the id"),
        ("unk_id", 700, "model.unk_id is 700"),
        ("unk_id", ..., "model has no 'unk_id'"),
        ("vocab", [["<unk>", 0.0], ["<|end|>", 0.0]], "added token '<s>' has id 1, which is not its place"),
        ("byte_fallback", True, "byte_fallback = true"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, key, value, message):
    path = tmp_path / "tokenizer.json"
    OURS.save(path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    if value is ...:
        del saved["model"][key]
    else:
        saved["model"][key] = value
    path.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(path)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"room for 2 pieces beside the special tokens is too small: .* 4 characters"):
        Unigram.train(["abc"], 3)
    with pytest.raises(ValueError, match="2 pieces and 1 scores"):
        Unigram(["<unk>", "a"], [0.0])
    with pytest.raises(ValueError, match="unknown characters, '<unk>', is not in"):
        Unigram(["a"], [0.0])
    with pytest.raises(ValueError, match=r"'<unk>', for unknown characters, should be one of the specials \['<s>'\]"):
        Unigram.train(["abc"], 50, specials=["<s>"])
