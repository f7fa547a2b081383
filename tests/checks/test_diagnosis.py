"""What check says about each kind of wrong answer: every one is caused for real."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from lib import seed
from lib.checks import Case, Exercise, Misconception, check, hint
from lib.checks.compare import Tolerance, differ, freeze
from lib.checks.core import diagnose
from lib.grad import Tensor

HINTS = ("a nudge", "the idea", "nearly there")


def scale(x, k):
    return x * k


def random_matrix(rng):
    return rng.normal(size=(3, 2)), float(rng.uniform(2, 3))


MISTAKES = [
    Misconception("adds instead of multiplying", lambda x, k: x + k, "A scale multiplies.", "Section 1"),
    Misconception("divides", lambda x, k: x / k, "Dividing undoes it.", "Section 2"),
]


def exercise(**changes):
    given = dict(reference=scale, cases=[random_matrix, Case("one row", np.ones((1, 2)), 2.0)], misconceptions=MISTAKES)
    return Exercise("99.1", "Scale", hints=HINTS, **{**given, **changes})


def kind(answer, **changes):
    return diagnose(exercise(**changes), answer, seed=1).kind


def test_a_right_answer_passes_with_a_text_that_never_changes():
    first, second = check(exercise(), scale), check(exercise(), lambda x, k: k * x)
    assert first.passed and first.kind == "pass"
    assert repr(first) == repr(second) == "✓ 99.1 Scale: correct on 9 cases"
    assert first._repr_html_() == second._repr_html_()


def test_a_misconception_is_named_with_its_reason_and_place():
    result = check(exercise(), lambda x, k: x + k)
    assert (result.kind, result.misconception, result.passed) == ("misconception", MISTAKES[0].title, False)
    assert "It looks as if your code adds instead of multiplying." in repr(result)
    assert "A scale multiplies." in repr(result) and "Where to look: Section 1" in repr(result)


def add_in_place(x, k):
    x += k
    return x


@pytest.mark.parametrize(
    "answer",
    [lambda x, k: (x + k).tolist(), lambda x, k: (x + k).astype(np.float32), add_in_place, lambda x, k: np.add(x, k)],
    ids=["list", "float32", "in place", "another form"],
)
def test_a_misconception_in_another_dress_is_named(answer):
    result = check(exercise(), answer)
    assert result.misconception == "adds instead of multiplying"
    if answer is add_in_place:
        assert "also changes its argument x" in repr(result)


def test_a_misconception_is_named_by_the_error_that_it_causes():
    mistake = Misconception("forgets to transpose", lambda x, k: x @ x, "Look at the shapes.", "Section 3")
    changes = dict(reference=lambda x, k: x.T @ x, cases=[random_matrix], misconceptions=[mistake], names=("x", "k"))
    result = diagnose(exercise(**changes), lambda x, k: x @ x * 1.0, 1)
    assert result.misconception == "forgets to transpose"
    assert "raises ValueError" in repr(result)
    assert kind(lambda x, k: x @ np.ones(7), **changes) == "exception"


def test_a_misconception_with_a_second_mistake_is_still_named():
    def answer(x, k):
        return x + k if len(x) > 1 else x * 0

    result = diagnose(exercise(cases=[random_matrix, Case("one row", np.full((1, 2), 2.0), 2.0)]), answer, 1)
    assert result.misconception == "adds instead of multiplying"  # 2 + 2 = 2 * 2: the row does not tell them apart
    assert "Something else differs too" in repr(result)


def test_a_mistake_in_one_edge_case_names_no_misconception_of_all_cases():
    assert diagnose(exercise(), lambda x, k: x * k if len(x) > 1 else x + 1, 1).misconception is None


def test_not_written_yet():
    def stub(x, k):
        raise NotImplementedError("Exercise 99.1: write scale here")

    for answer in (stub, ...):
        result = check(exercise(), answer)
        assert result.kind == "unwritten" and "not written yet" in repr(result)


def test_an_exception_is_reported_with_type_message_line_and_case_but_no_traceback():
    def answer(x, k):
        y = x * k
        return y[99]

    result = check(exercise(), answer)
    text = repr(result)
    assert result.kind == "exception"
    assert "IndexError: index 99 is out of bounds" in text
    assert "return y[99]" in text and "case      random matrix" in text
    assert "Traceback" not in text and "run.py" not in text


@pytest.mark.parametrize("error", [SystemExit, AssertionError, RecursionError, MemoryError])
def test_no_exception_of_an_answer_gets_out(error):
    def answer(x, k):
        raise error

    assert kind(answer) == "exception"


def test_only_the_learners_own_line_is_shown_for_an_error_inside_a_library():
    result = diagnose(exercise(), lambda x, k: np.linalg.inv(x), 1)
    assert "np.linalg.inv(x)" in repr(result) and "linalg.py" not in repr(result)


def test_changed_arguments():
    def answer(x, k):
        x *= k
        return x

    result = check(exercise(), answer)
    assert result.kind == "changes" and "changes its argument x" in repr(result)
    tensors = [Case("tensor", torch.ones(2), 3.0)]
    assert kind(answer, reference=scale, cases=tensors) == "changes"
    assert kind(lambda x, k: [x.append(k), x][1], reference=lambda x, k: [*x, k], cases=[Case("", [1], 2)]) == "changes"


def test_arguments_that_are_meant_to_change_are_compared():
    def sgd(x, k):
        x -= k

    declared = dict(reference=sgd, cases=[random_matrix], changes=("x",))
    assert kind(sgd, **declared) == "pass"
    assert kind(lambda x, k: None, **declared) == "value"


def test_prints_instead_of_returning():
    result = check(exercise(), lambda x, k: print("the answer is", k))
    assert result.kind == "prints" and "prints its result instead of returning it" in repr(result)
    assert "printed   the answer is" in repr(result)


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (lambda x, k: None, "none", "returns nothing (None)"),
        (lambda x, k: "text", "type", "is a string; a NumPy array is expected"),
        (lambda x, k: {"a": 1}, "type", "is a dict"),
        (lambda x, k: (yield), "type", "is a generator"),
        (lambda x, k: torch.from_numpy(x * k), "type", "is a torch tensor; a NumPy array is expected"),
        (lambda x, k: Tensor(x * k), "type", "is a Tensor of the engine; a NumPy array is expected"),
        (lambda x, k: (x * k).tolist(), "list", "is a Python list; a NumPy array is expected"),
        (lambda x, k: (x * k, k), "count", "is a tuple of 2 elements"),
        (lambda x, k: (x * k).T, "shape", "It is the right answer, transposed."),
        (lambda x, k: (x * 7).T, "shape", "The axes are the wrong way round."),
        (lambda x, k: (x * k)[:, :, None], "shape", "an axis too many or too few"),
        (lambda x, k: k, "shape", "has shape (); (3, 2) is expected"),
        (lambda x, k: x * k + 0j, "dtype", "is complex"),
        (lambda x, k: (x * k).astype(object), "type", "an array of Python objects"),
        (lambda x, k: x * k + np.array([np.nan, 0]), "nan", "NaN (not a number) at position (0, 0)"),
        (lambda x, k: x * k + np.array([0, np.inf]), "nan", "infinity at position (0, 1)"),
        (lambda x, k: -x * k, "value", "Every number has the wrong sign."),
        (lambda x, k: x * k * 3, "value", "Every number is 3 times the expected one."),
        (lambda x, k: x * k + 3, "value", "Every number is 3 too large."),
        (lambda x, k: x * k + np.array([[0, 0], [0, 0], [0, 5]])[: len(x)], "value", "is 5 at position (2, 1)"),
    ],
)
def test_each_kind_of_wrong_result_is_told_exactly(answer, expected, said):
    result = diagnose(exercise(), answer, 1)
    assert result.kind == expected, repr(result)
    assert said in repr(result)


@pytest.mark.filterwarnings("error")
def test_equal_infinities_are_no_difference():
    got, want = (freeze(np.array([-np.inf, 2.0, x])) for x in (1.0, 4.0))
    assert "is 3 at position 2: got 1.0, expected 4.0" in str(differ(got, want, Tolerance()))
    assert differ(got, got, Tolerance()) is None


def test_a_dtype_is_compared_where_it_matters():
    def single(x, k):
        return (x * k).astype(np.float32)

    assert kind(single) == "pass"  # right within the tolerance of 1e-6
    assert "has dtype float32; float64 is expected" in repr(diagnose(exercise(same_dtype=True), single, 1))
    assert "right to the precision of float32" in repr(diagnose(exercise(rtol=1e-9, atol=0.0), single, 1))
    mask = dict(reference=lambda x, k: x > 0, names=("x", "k"), misconceptions=[])
    assert kind(lambda x, k: (x > 0).astype(int), **mask) == "dtype"


def test_an_unknown_mistake_shows_the_case_and_both_results_and_how_to_repeat_it():
    result = check(exercise(), lambda x, k: np.sin(x), seed=7)
    text = repr(result)
    assert "Correct on 0 of 9 cases" in text and "case      random matrix" in text
    assert "x         [[" in text and "expected  [[" in text and "got       [[" in text
    assert "shape (3, 2), float64" in text and "largest difference" in text
    assert "seed=7" in text
    again = check(exercise(), lambda x, k: np.sin(x), seed=7)
    assert again.code == result.code
    assert check(exercise(), lambda x, k: np.sin(x), seed=8).code != result.code


def test_cases_are_new_on_each_check():
    assert len({check(exercise(), lambda x, k: np.sin(x)).code for _ in range(5)}) > 1


def test_the_function_must_be_passed_itself():
    result = check(exercise(), scale(np.ones(2), 2.0))
    assert result.kind == "not-passed" and "without brackets" in repr(result)
    assert check(exercise(), None).kind == "not-passed"


def test_wrong_arguments():
    result = check(exercise(), lambda x: x)
    assert result.kind == "signature" and "It takes (x), but it is called with (x, k)." in repr(result)
    assert kind(lambda *args, factor=1: args[0] * args[1]) == "pass"


def test_every_answer_meets_the_same_luck_and_the_readers_own_is_left_alone():
    def noisy(x, k):
        return x * k + np.random.normal(size=x.shape) + torch.randn(1).item()  # noqa: NPY002

    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    untouched = np.random.normal(), torch.randn(1).item()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    assert kind(noisy, reference=noisy) == "pass"
    assert (np.random.normal(), torch.randn(1).item()) == untouched  # noqa: NPY002


def test_a_generator_argument_gives_each_answer_the_same_draws():
    def draw(rng, n):
        return rng.normal(size=n)

    cases = [lambda rng: (rng, 4), Case("fixed", np.random.default_rng(0), 3)]
    assert kind(draw, reference=draw, cases=cases) == "pass"
    assert kind(lambda rng, n: rng.normal(size=n + 1)[1:], reference=draw, cases=cases) == "value"


def test_a_result_that_is_changed_later_is_judged_as_it_was():
    buffer = np.zeros((3, 2))

    def answer(x, k):
        buffer[: len(x)] = x * k
        return buffer[: len(x)]

    assert kind(answer) == "pass"


def test_classes_are_tried_through_a_harness():
    class Counter:
        def __init__(self):
            self.n = 0

        def step(self, k):
            self.n += k
            return self

    class Forgets(Counter):
        def step(self, k):
            self.n = k
            return self

    class Lacks:
        pass

    harness = dict(
        reference=Counter,
        use=lambda cls, k: cls().step(k).step(k).n,
        cases=[Case("two", 2), Case("five", 5)],
        misconceptions=[Misconception("assigns instead of adding", Forgets, "why", "look")],
        names=("k",),
    )
    assert kind(Counter, **harness) == "pass"
    assert diagnose(exercise(**harness), Forgets, 1).misconception == "assigns instead of adding"
    result = diagnose(exercise(**harness), Lacks, 1)
    assert "AttributeError: 'Lacks' object has no attribute 'step'" in repr(result)


def test_value_exercises():
    value = dict(reference=np.array([1.0, 2.0]), cases=[], misconceptions=[Misconception("adds", [2.0, 3.0], "w", "l")])
    assert kind(np.array([1.0, 2.0]), **value) == "pass"
    assert kind(np.array([2.0, 3.0]), **value) == "misconception"
    assert kind([1.0, 2.0], **value) == "list"
    assert kind(..., **value) == "unwritten"
    assert kind(None, **value) == "none"
    assert kind(lambda: 1, **value) == "type"
    wrong = diagnose(exercise(**value), np.array([9.0, 9.0]), 1)
    assert wrong.kind == "value" and "expected" not in wrong.code + " ".join(wrong.paragraphs)


def test_an_error_that_the_right_answer_raises_is_asked_for():
    def careful(x, k):
        if k == 0:
            raise ValueError("k must not be 0")
        return x * k

    declared = dict(reference=careful, cases=[random_matrix, Case("zero", np.ones(2), 0.0, raises=ValueError)])
    assert kind(careful, **declared) == "pass"
    result = diagnose(exercise(**declared), scale, 1)
    assert result.kind == "no-error" and "a ValueError must be raised" in repr(result)


def test_a_check_that_is_itself_at_fault_says_so():
    with pytest.raises(RuntimeError, match=r"check of exercise 99\.1 is itself at fault"):
        check(exercise(reference=lambda x, k: x @ np.ones(9), names=("x", "k")), scale)


def test_hints_come_one_at_a_time():
    wrong = [check(exercise(), lambda x, k: np.sin(x)) for _ in range(4)]
    assert [r.footer[0] for r in wrong] == [f"Hint {n} of 3: {HINTS[n - 1]}" for n in (1, 2, 3, 3)]
    check(exercise(), scale)
    assert "Hint 1 of 3: a nudge" in repr(hint(exercise()))
    assert "Hint 2 of 3: the idea" in repr(hint(exercise()))


def test_a_check_that_is_not_written_uses_up_no_hint():
    check(exercise(), ...)
    assert 'hint("99.1")' in repr(check(exercise(), ...))
    assert "Hint 1 of 3" in repr(hint(exercise()))


def test_html_is_escaped_and_says_in_words_what_the_colour_says():
    result = check(exercise(), lambda x, k: "<script>")
    assert "<script>" not in result._repr_html_() and "&lt;script&gt;" in result._repr_html_()
    assert "✗ 99.1 Scale: not yet" in result._repr_html_()
    assert "background" not in result._repr_html_()  # the page's own, light or dark


def test_an_unknown_number_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"There is no exercise 10\.99\. Did you mean 10\."):
        check("10.99", scale)
    with pytest.raises(ValueError, match="quotation marks"):
        check(10.1, scale)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(hints=("one",)), "three hints"),
        (dict(hints=("one", " ", "three")), "three hints"),
        (dict(difficulty=4), "difficulty is 1, 2 or 3"),
        (dict(minutes=0), "minutes must be above 0"),
        (dict(cases=[]), "needs cases"),
        (dict(reference=1.0), "has no cases"),
        (dict(changes=("w",)), "must name arguments"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Exercise(**{**dict(number="99.1", title="t", reference=scale, cases=[random_matrix], hints=HINTS), **changes})


def test_the_engine_needs_only_numpy():
    code = "import lib.checks, sys; print(sorted({'torch', 'filelock', 'IPython', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(1).item()])
def test_a_check_leaves_the_reader_s_random_numbers_where_they_were(draw):
    def greedy(x, k):
        draw()
        return x * k

    seed(3)
    expected = [draw() for _ in range(2)]
    seed(3)
    got = [draw()]
    assert diagnose(exercise(), greedy, 1).passed
    assert [*got, draw()] == expected
