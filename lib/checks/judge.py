"""Judge an answer by running it beside the reference, and recognise a known mistake in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.checks.compare import Difference, Tolerance, differ, forgiving
from lib.checks.declare import Case, Exercise, Misconception
from lib.checks.run import Outcome, luck_kept, run, run_all


@dataclass
class Trial:
    """One case with what the learner's answer and the reference did on it, and how they differ."""

    case: Case
    seed: int
    got: Outcome
    want: Outcome
    fault: Difference | None


def try_all(exercise: Exercise, answer: Any, cases: list[tuple[Case, int]]) -> list[Trial]:
    """A trial for each case, up to the one at which the answer had to be stopped."""
    wants = run_all(exercise, exercise.reference, cases)
    gots = run_all(exercise, answer, cases, exercise.seconds)
    trials = []
    for (case, seed), got, want in zip(cases, gots, wants, strict=False):
        must_work(exercise, case, want)
        trials.append(Trial(case, seed, got, want, find_fault(got, want, case, exercise.tolerance)))
    return trials


def must_work(exercise: Exercise, case: Case, want: Outcome) -> None:
    """RuntimeError where the reference itself did not do on this case what the case declares."""
    expected = isinstance(want.error, case.raises) if case.raises else want.error is None
    if not expected:
        raise RuntimeError(
            f"The check of exercise {exercise.number} is itself at fault: on the case {case.label!r} its reference "
            f"{'raised ' + repr(want.error) if want.error else 'raised no ' + case.raises.__name__}."  # pyright: ignore
        ) from want.error


def find_fault(got: Outcome, want: Outcome, case: Case, tol: Tolerance) -> Difference | None:
    """How one outcome differs from the reference's."""
    if got.stopped:
        return Difference("endless", "")
    if want.error is not None:
        if got.error is None:
            return Difference("no-error", f"Here a {type(want.error).__name__} must be raised, and none was.")
        return None if isinstance(got.error, case.raises or ()) else Difference("exception", "")
    if got.error is not None or got.value is None or want.value is None:
        return Difference("exception", "")
    if got.value.kind == "none" and want.value.kind != "none":
        return Difference("prints" if got.printed.strip() else "none", "")
    return differ(got.value, want.value, tol)


def name_mistake(exercise: Exercise, trials: list[Trial], failing: list[Trial]) -> tuple[Misconception, bool] | None:
    """The misconception that answers as the learner does, and whether it explains every failing case.

    Twice round: first exactly, then by the numbers alone, so that a list, 32-bit floats or another kind of array
    does not hide the mistake. On each round a misconception that agrees on all cases wins; failing that, one that
    agrees wherever it differs from the reference and so explains most failing cases, three of them at least.
    """
    trials = failing + [t for t in trials if t.fault is None]
    loose = forgiving(exercise.tolerance)
    with luck_kept():
        runs = [(m, _follow(exercise, m, trials, loose)) for m in exercise.misconceptions]
    for tol in (exercise.tolerance, loose):
        wrong = [t for t in failing if _distinct(t.got, t.want, tol)]
        partly = None
        for misconception, outcomes in runs:
            pairs = list(zip(trials, outcomes, strict=False))
            if wrong and len(pairs) == len(trials) and not any(_distinct(t.got, o, tol) for t, o in pairs):
                return misconception, True
            telling = [(t, o) for t, o in pairs if _distinct(o, t.want, tol)]
            if (
                len(telling) >= 3
                and 2 * len(telling) > len(wrong)
                and not any(_distinct(t.got, o, tol) for t, o in telling)
            ):
                partly = partly or misconception
        if partly:
            return partly, False
    return None


def _follow(exercise: Exercise, misconception: Misconception, trials: list[Trial], tol: Tolerance) -> list[Outcome]:
    """What the misconception does on the cases; [] as soon as one shows that the learner's mistake is another."""
    outcomes = []
    for t in trials:
        outcome = run(exercise, misconception.answer, t.case, t.seed)
        if _distinct(t.got, outcome, tol) and _distinct(outcome, t.want, tol):
            return []
        outcomes.append(outcome)
    return outcomes


def _distinct(a: Outcome, b: Outcome, tol: Tolerance) -> bool:
    if a.error is not None and b.error is not None:
        return (type(a.error), str(a.error)) != (type(b.error), str(b.error))
    if a.value is None or b.value is None:
        return True
    return differ(a.value, b.value, tol) is not None
