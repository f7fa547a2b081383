"""What holds for every exercise that any chapter declares."""

import itertools

import numpy as np
import pytest
from variants import named

from lib.checks.core import diagnose
from lib.checks.declare import exercises, modules

ALL = exercises()
CHAPTERS = {chapter: list(group) for chapter, group in itertools.groupby(ALL, key=lambda e: e.number.split(".")[0])}
EACH = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.number)
MISTAKES = [pytest.param(e, m, id=f"{e.number} {m.title}") for e in ALL for m in e.misconceptions]


def test_exercises_are_found_and_belong_to_their_module():
    assert len(ALL) >= 5
    assert len({e.number for e in ALL}) == len(ALL)
    for module in modules():
        chapter = module.__name__.rsplit(".", 1)[1][2:4]
        assert {e.number.split(".")[0] for e in module.EXERCISES} == {chapter}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_declares_two_misconceptions_or_more(chapter):
    assert sum(len(e.misconceptions) for e in CHAPTERS[chapter]) >= 2


@EACH
def test_what_is_said_is_there_and_distinct(exercise):
    assert exercise.title.strip()
    assert len({h.strip() for h in exercise.hints}) == 3
    assert len({m.title for m in exercise.misconceptions}) == len(exercise.misconceptions)
    for m in exercise.misconceptions:
        assert m.title.strip() and m.why.strip() and m.look.strip()
        assert not m.title.endswith("."), 'the title completes the sentence "It looks as if your code ..."'


@EACH
@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_and_every_alternative_pass(exercise, seed):
    for answer in (exercise.reference, *exercise.alternatives):
        result = diagnose(exercise, answer, seed)
        assert result.passed, str(result)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("exercise", "misconception"), MISTAKES)
def test_every_misconception_is_rejected_and_named(exercise, misconception, seed):
    result = diagnose(exercise, misconception.answer, seed)
    assert result.misconception == misconception.title, str(result)
    assert not result.passed


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_near_variants_of_the_misconceptions_are_named(chapter):
    tried = [
        (f"{e.number} {m.title!r} as {variant}", ok)
        for e in CHAPTERS[chapter]
        for m in e.misconceptions
        for variant, ok in named(e, m, seeds=())
    ]
    missed = [text for text, ok in tried if not ok]
    assert len(missed) <= 0.1 * len(tried), missed


@EACH
@pytest.mark.parametrize(
    "wrong", [None, "text", float("nan"), {}, np.zeros((3, 1, 2, 5))], ids=lambda w: type(w).__name__
)
def test_nonsense_is_rejected_without_naming_a_misconception(exercise, wrong):
    answer = wrong if exercise.is_value else lambda *args, **kwargs: wrong
    result = diagnose(exercise, answer, 0)
    assert not result.passed
    assert result.misconception is None, str(result)


@EACH
def test_what_is_not_written_is_called_that(exercise):
    def stub(*args, **kwargs):
        raise NotImplementedError

    assert diagnose(exercise, ..., 0).kind == "unwritten"
    if not exercise.is_value and exercise.use is None:
        assert diagnose(exercise, stub, 0).kind == "unwritten"
