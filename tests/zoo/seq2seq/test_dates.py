"""The dates are what they say, no day is in two piles, and both tasks can be built."""

import re
from datetime import date

import numpy as np
import pytest
import torch

from lib.data.sources import NotFound
from lib.tasks import dates, translate
from lib.train import TrainConfig, fit
from lib.zoo.seq2seq import Seq2Seq


def test_no_day_is_in_two_piles():
    train, tune, test = dates.calendar(np.random.default_rng(0))
    assert len(train) + len(tune) + len(test) == len({*train, *tune, *test}) == dates.N_DAYS
    assert min(train + tune + test) == date(1930, 1, 1) and max(train + tune + test) == date(2029, 12, 31)


@pytest.mark.parametrize(
    ("n", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (22, "22nd")],
)
def test_ordinals(n, text):
    assert dates.ordinal(n) == text


def test_every_form_of_a_day_holds_its_day_and_year():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(2000):
        text = dates.written(date(1987, 3, 14), rng)
        seen.add(text.lower())
        assert re.search(r"14", text) and "87" in text and re.search(r"mar|0?3", text.lower()), text
        assert not re.search(
            r"(sun|mon|tues|wednes|thurs|fri)day|dimanche|lundi|mardi|mercredi|jeudi|vendredi", text.lower()
        )
    assert len(seen) == len(dates.FORMS)


def test_forms_tell_days_apart():
    """No string stands for two days: what is asked for can be answered."""
    rng, meaning = np.random.default_rng(1), {}
    for day in dates.calendar(rng)[0][:6000]:
        text = dates.written(day, rng).lower()
        assert meaning.setdefault(text, day) == day


def test_distractors_surround_the_date():
    rng = np.random.default_rng(0)
    texts = [dates.distracted(date(1987, 3, 14), rng, most=6) for _ in range(200)]
    assert {text.count(", ") for text in texts} >= set(range(7))


def test_exact_match_counts_whole_answers():
    class Writes(Seq2Seq):
        def greedy(self, source, n_steps):
            return torch.tensor([[4, 5, 2], [4, 4, 2]])[: len(source)]

    vocabulary = dates.Vocabulary.of([["a", "b"]])
    model = Writes(6, 6, 2, 2)
    assert dates.exact(model, [[4], [5]], ["ab", "ab"], vocabulary).tolist() == [True, False]


def test_the_date_task_learns():
    options = dates.Options(n_examples=200, d_embed=8, d_model=16)
    task = dates.build(options, seed=0)
    result = fit(task, TrainConfig(steps=30, batch=32, lr=1e-2))
    assert set(result.metrics) == {"exact", "exact_longest_quarter"}
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_cut_pieces_joined_are_the_text():
    for text in ("Ce paquet fournit l’outil « foo_bar-2.0 ».", "GNU C++  (32 bits)"):
        assert translate.join(translate.cut(text)) == translate.tidy(text)


def test_unknown_words_are_copied_or_left_out():
    class Writes(Seq2Seq):
        def greedy(self, source, n_steps):
            return torch.tensor([[4, 3, 2]])

        def forward(self, source, target):
            weights = torch.zeros(1, 3, 2)
            weights[0, 0, 0] = weights[0, 1, 1] = weights[0, 2, 0] = 1
            return None, weights

    source, target = translate.Vocabulary.of([[" tool"]]), translate.Vocabulary.of([[" outil"]])
    model = Writes(5, 5, 2, 2)
    rows = [[" tool", " xyz"]]
    assert translate.translations(model, rows, source, target) == ["outil xyz"]
    assert translate.translations(model, rows, source, target, copy=False) == ["outil"]


def test_identical_texts_have_a_bleu_of_100():
    assert translate.bleu(["un deux trois quatre cinq"], ["un deux trois quatre cinq"]) == pytest.approx(100)


def test_the_translation_task_keeps_its_piles_apart():
    try:
        task = translate.build(translate.Options(most=5, d_embed=4, d_model=4), seed=0)
    except NotFound as missing:
        pytest.skip(f"the translation task was not built: {str(missing).splitlines()[0]}")
    tuned = len(translate.short_pairs("train", 5))
    assert len(task.train) == tuned - translate.N_TUNING
