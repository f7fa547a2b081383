"""check and hint: run an answer beside the reference, and say what the mistake is.

An answer passes when it agrees with the reference on all cases and leaves its arguments alone. Otherwise the known
misconceptions run on the same cases, and the one that answers as the learner does is named. Where none does, the first
failing case is shown, under one of these kinds:

    unwritten  not-passed  signature  exception  endless  prints  none  type  list  count  keys  shape  dtype  nan
    changes  no-error  value
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from lib.checks import progress
from lib.checks.compare import Difference, Tolerance, differ, forgiving, freeze
from lib.checks.declare import Case, Exercise, Misconception, find
from lib.checks.report import BLUE, GREEN, RED, Panel, Result, short
from lib.checks.run import Outcome, run_all, signature_problem

_hints_seen: dict[str, int] = {}
"""How many hints of each exercise this session has shown."""


def check(number: str | Exercise, answer: Any, seed: int | None = None) -> Result:
    """Check an answer, remember the result, and return it for display.

    The random cases are new each time; a failing check names its `seed`, which brings the same cases back.
    """
    exercise = number if isinstance(number, Exercise) else find(number)
    seed = secrets.randbelow(10_000) if seed is None else seed
    result = diagnose(exercise, answer, seed)
    note = progress.record(exercise.number, result.kind, result.misconception)
    return replace(result, footer=(*result.footer, note)) if note else result


def hint(number: str | Exercise) -> Panel:
    """The next hint of an exercise; after the third, the third again."""
    exercise = number if isinstance(number, Exercise) else find(number)
    return Panel("→", f"{exercise.number} {exercise.title}", BLUE, (_next_hint(exercise),))


def _next_hint(exercise: Exercise) -> str:
    n = min(_hints_seen.get(exercise.number, 0) + 1, 3)
    _hints_seen[exercise.number] = n
    return f"Hint {n} of 3: {exercise.hints[n - 1]}"


@dataclass
class Trial:
    """One case with what the learner's answer and the reference did on it, and how they differ."""

    case: Case
    seed: int
    got: Outcome
    want: Outcome
    fault: Difference | None


def diagnose(exercise: Exercise, answer: Any, seed: int) -> Result:
    """The verdict on an answer; nothing is remembered except which hint came last."""
    if answer is ... or answer is NotImplemented:
        return _unwritten(exercise)
    if exercise.is_value:
        return _diagnose_value(exercise, answer)
    cases = exercise.draw(seed)
    if not callable(answer) and callable(exercise.reference):
        text = f"check needs the function itself, but it got {short(answer)}."
        return _fail(exercise, "not-passed", text, 'Give its name without brackets, as in check("...", name).')
    if exercise.use is None and (problem := signature_problem(exercise, answer, cases[0][0])):
        return _fail(exercise, "signature", f"Your function has the wrong arguments. {problem}")
    trials = _try(exercise, answer, cases)
    if any(isinstance(t.got.error, NotImplementedError) for t in trials if t.case.raises is None):
        return _unwritten(exercise)
    failing = [t for t in trials if t.fault]
    if not failing and len(trials) == len(cases):
        changed = next((t for t in trials if t.got.changed), None)
        return _changes(exercise, changed, answer, seed) if changed else _pass(exercise, len(cases))
    if not failing[-1].got.stopped:
        named = _name(exercise, trials, failing)
        if named:
            return _named(exercise, *named, trials=trials, failing=failing)
    return _unknown(exercise, failing[0], len(trials) - len(failing), len(cases), seed)


def _try(exercise: Exercise, answer: Any, cases: list[tuple[Case, int]]) -> list[Trial]:
    wants = run_all(exercise, exercise.reference, cases)
    gots = run_all(exercise, answer, cases, exercise.seconds)
    trials = []
    for (case, seed), got, want in zip(cases, gots, wants, strict=False):
        _must_work(exercise, case, want)
        trials.append(Trial(case, seed, got, want, _fault(got, want, case, _tolerance(exercise))))
    return trials


def _must_work(exercise: Exercise, case: Case, want: Outcome) -> None:
    expected = isinstance(want.error, case.raises) if case.raises else want.error is None
    if not expected:
        raise RuntimeError(
            f"The check of exercise {exercise.number} is itself at fault: on the case {case.label!r} its reference "
            f"{'raised ' + repr(want.error) if want.error else 'raised no ' + case.raises.__name__}."  # pyright: ignore
        ) from want.error


def _tolerance(exercise: Exercise) -> Tolerance:
    return Tolerance(exercise.rtol, exercise.atol, exercise.same_dtype)


def _fault(got: Outcome, want: Outcome, case: Case, tol: Tolerance) -> Difference | None:
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


# ---- naming a misconception ----


def _name(exercise: Exercise, trials: list[Trial], failing: list[Trial]) -> tuple[Misconception, bool] | None:
    """The misconception that answers as the learner does, and whether it explains every failing case.

    Twice round: first exactly, then by the numbers alone, so that a list, 32-bit floats or another kind of array
    does not hide the mistake. On each round a misconception that agrees on all cases wins; failing that, one that
    agrees wherever it differs from the reference and so explains most failing cases, three of them at least.
    """
    cases = [(t.case, t.seed) for t in trials]
    runs = [(m, run_all(exercise, m.answer, cases)) for m in exercise.misconceptions]
    tol = _tolerance(exercise)
    for tolerance in (tol, forgiving(tol)):
        wrong = [t for t in failing if _distinct(t.got, t.want, tolerance)]
        partly = None
        for misconception, outcomes in runs:
            agrees = [not _distinct(t.got, o, tolerance) for t, o in zip(trials, outcomes, strict=True)]
            if wrong and all(agrees):
                return misconception, True
            telling = [a for a, t, o in zip(agrees, trials, outcomes, strict=True) if _distinct(o, t.want, tolerance)]
            if len(telling) >= 3 and all(telling) and 2 * len(telling) > len(wrong):
                partly = partly or misconception
        if partly:
            return partly, False
    return None


def _distinct(a: Outcome, b: Outcome, tol: Tolerance) -> bool:
    if a.error is not None and b.error is not None:
        return (type(a.error), str(a.error)) != (type(b.error), str(b.error))
    if a.value is None or b.value is None:
        return True
    return differ(a.value, b.value, tol) is not None


def _named(exercise: Exercise, m: Misconception, whole: bool, trials: list[Trial], failing: list[Trial]) -> Result:
    said = [f"It looks as if your code {m.title}.", m.why, f"Where to look: {m.look}"]
    error = failing[0].got.error
    if error is not None:
        said.insert(1, f"That is why it raises {type(error).__name__}: {error}")
    if not whole:
        said.append("Something else differs too; put this right first, then check again.")
    if changed := next((t.got.changed for t in trials if t.got.changed), ()):
        said.append(f"It also changes its argument {' and '.join(changed)}; work on a copy.")
    return _fail(exercise, "misconception", *said, misconception=m.title)


# ---- the verdicts ----


def _pass(exercise: Exercise, n: int) -> Result:
    said = f"correct on {n} cases" if n > 1 else "correct"
    heading = f"{exercise.number} {exercise.title}: {said}"
    return Result("✓", heading, GREEN, passed=True, kind="pass")


def _fail(
    exercise: Exercise,
    kind: str,
    *said: str,
    code: str = "",
    footer: tuple[str, ...] = (),
    misconception: str | None = None,
) -> Result:
    heading = f"{exercise.number} {exercise.title}: not yet"
    ask = (f'hint("{exercise.number}") shows a hint.',) if not footer else footer
    return Result("✗", heading, RED, said, code, ask, kind=kind, misconception=misconception)


def _unwritten(exercise: Exercise) -> Result:
    heading = f"{exercise.number} {exercise.title}: not written yet"
    said = f"Write your answer above, run that cell, then run the check again. About {exercise.minutes} minutes."
    ask = f'hint("{exercise.number}") shows a hint.'
    return Result("○", heading, BLUE, (said,), footer=(ask,), kind="unwritten")


def _changes(exercise: Exercise, trial: Trial, answer: Any, seed: int) -> Result:
    names = " and ".join(trial.got.changed)
    return _fail(
        exercise,
        "changes",
        f"The result is right, but your function changes its argument {names}, which still belongs to its caller.",
        "Make a new array (w = w + step) rather than change the old one (w += step, w[0] = ...), or copy it first.",
        code=_show_case(exercise, trial),
    )


def _diagnose_value(exercise: Exercise, answer: Any) -> Result:
    tol = _tolerance(exercise)
    if callable(answer):
        return _fail(exercise, "type", "A value is expected here, not a function. Call it and give its result.")
    got, want = freeze(answer), freeze(exercise.reference)
    fault = differ(got, want, tol)
    if fault is None:
        return _pass(exercise, 1)
    for tolerance in (tol, forgiving(tol)):
        for m in exercise.misconceptions if differ(got, want, tolerance) else ():
            if differ(got, freeze(m.answer), tolerance) is None:
                trial = Trial(Case("the value"), 0, Outcome(got), Outcome(want), fault)
                return _named(exercise, m, True, trials=[], failing=[trial])
    if got.kind == "none":
        return _fail(exercise, "none", "Your answer is None. Give it a value first.", footer=(_next_hint(exercise),))
    # The expected value is the answer itself, so it is not shown.
    text = "That is not the value." if fault.kind == "value" else fault.text
    return _fail(exercise, fault.kind, text, f"Your answer: {short(got)}", footer=(_next_hint(exercise),))


def _unknown(exercise: Exercise, trial: Trial, right: int, total: int, seed: int) -> Result:
    fault, got = trial.fault, trial.got
    assert fault is not None
    code = _show_case(exercise, trial)
    said = {
        "endless": f"Your code was stopped after {exercise.seconds:g} seconds. It loops without end, or is far too slow.",
        "prints": "Your function prints its result instead of returning it. Put `return` where `print` is.",
        "none": "Your function returns nothing (None). End it with `return` and the result.",
        "exception": f"Your code raises {type(got.error).__name__}: {got.error}",
    }.get(fault.kind, fault.text)
    lines = [said]
    if fault.kind == "exception" and got.line:
        lines.append(f"At {got.line}")
    if fault.kind not in ("endless", "exception", "prints", "none", "no-error"):
        code += f"\nexpected  {short(trial.want.value)}\ngot       {short(got.value)}"
    if got.printed.strip():
        code += f"\nprinted   {got.printed.strip().splitlines()[0][:100]}"
    if fault.kind != "endless":
        lines.append(f"Correct on {right} of {total} cases. The first that is not:")
    again = f'The same cases again: check("{exercise.number}", ..., seed={seed})'
    return _fail(exercise, fault.kind, *lines, code=code, footer=(_next_hint(exercise), again))


def _show_case(exercise: Exercise, trial: Trial) -> str:
    names = exercise.argument_names()
    shown = [f"case      {trial.case.label}"]
    for i, arg in enumerate(trial.case.args):
        name = names[i] if i < len(names) else f"argument {i + 1}"
        shown.append(f"{name:<9} {short(arg)}")
    return "\n".join(shown)
