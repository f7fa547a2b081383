"""check and hint: run an answer beside the reference, and say what the mistake is.

An answer passes when it agrees with the reference on all cases and leaves its arguments alone. Otherwise the known
misconceptions run on the same cases, and the one that answers as the learner does is named. Where none does, the first
failing case is shown. `Result.kind` says which it was:

    pass  misconception  unwritten  not-passed  signature  exception  endless  prints  none  no-error
    type  list  count  keys  shape  dtype  nan  value  changes
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from lib.checks import progress
from lib.checks.compare import differ, forgiving, freeze
from lib.checks.declare import Case, Exercise, Misconception, find
from lib.checks.judge import Trial, name_mistake, try_all
from lib.checks.report import BLUE, GREEN, RED, Panel, Result, short
from lib.checks.run import Outcome, signature_problem

_hints_seen: dict[str, int] = {}
"""How many hints of each exercise this session has shown."""


def check(number: str | Exercise, answer: Any, seed: int | None = None) -> Result:
    """Check an answer, remember the result, and return it for display.

    The random cases are new each time; a failing check names its `seed`, which brings the same cases back.
    """
    exercise = number if isinstance(number, Exercise) else find(number)
    seed = secrets.randbelow(10_000) if seed is None else seed
    result = diagnose(exercise, answer, seed)
    if result.passed:
        _hints_seen.pop(exercise.number, None)
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


def diagnose(exercise: Exercise, answer: Any, seed: int) -> Result:
    """The verdict on an answer; nothing is remembered except which hint came last."""
    if answer is ... or answer is NotImplemented:
        return _unwritten(exercise)
    if exercise.is_value:
        return _diagnose_value(exercise, answer)
    if callable(exercise.reference) and not callable(answer):
        said = f"check needs the function itself, but it got {_a_value(answer)}."
        how = f'Give its name without brackets: check("{exercise.number}", name), not check(..., name()).'
        return _fail(exercise, "not-passed", said, how)
    cases = exercise.draw(seed)
    if exercise.use is None and (problem := signature_problem(exercise, answer, cases[0][0])):
        return _fail(exercise, "signature", f"Your function has the wrong arguments. {problem}")
    trials = try_all(exercise, answer, cases)
    if any(isinstance(t.got.error, NotImplementedError) for t in trials if t.case.raises is None):
        return _unwritten(exercise)
    failing = [t for t in trials if t.fault]
    if not failing:
        changed = next((t for t in trials if t.got.changed), None)
        return _changes(exercise, changed) if changed else _pass(exercise, len(cases))
    if not failing[-1].got.stopped and (mistake := name_mistake(exercise, trials, failing)):
        return _named(exercise, *mistake, trials=trials)
    return _unknown(exercise, failing[0], len(trials) - len(failing), len(cases), seed)


def _diagnose_value(exercise: Exercise, answer: Any) -> Result:
    got, want = freeze(answer), freeze(exercise.reference)
    fault = differ(got, want, exercise.tolerance)
    if fault is None:
        return _pass(exercise, 1)
    if callable(answer):
        return _fail(exercise, "type", "A value is expected here, not a function. Call it and give its result.")
    for tol in (exercise.tolerance, forgiving(exercise.tolerance)):
        for m in exercise.misconceptions if differ(got, want, tol) else ():
            if differ(got, freeze(m.answer), tol) is None:
                return _named(exercise, m, whole=True, trials=[])
    hinted = (_next_hint(exercise),)
    if got.kind == "none":
        return _fail(exercise, "none", "Your answer is None. Give it a value first.", footer=hinted)
    text = (
        "That is not the value." if fault.kind == "value" else fault.text
    )  # never the expected value: it is the answer
    return _fail(exercise, fault.kind, text, f"Your answer: {short(got)}", footer=hinted)


def _pass(exercise: Exercise, n: int) -> Result:
    said = f"correct on {n} cases" if n > 1 else "correct"
    return Result("✓", f"{exercise.number} {exercise.title}: {said}", GREEN, passed=True, kind="pass")


def _fail(exercise: Exercise, kind: str, *said: str, **more: Any) -> Result:
    heading = f"{exercise.number} {exercise.title}: not yet"
    more = {"footer": (_ask(exercise),), **more}
    return Result("✗", heading, RED, said, kind=kind, **more)


def _ask(exercise: Exercise) -> str:
    return f'hint("{exercise.number}") shows a hint.'


def _unwritten(exercise: Exercise) -> Result:
    heading = f"{exercise.number} {exercise.title}: not written yet"
    said = f"Write your answer above, run that cell, then run the check again. About {exercise.minutes} minutes."
    return Result("○", heading, BLUE, (said,), footer=(_ask(exercise),), kind="unwritten")


def _named(exercise: Exercise, m: Misconception, whole: bool, trials: list[Trial]) -> Result:
    said = [f"It looks as if your code {m.title}.", m.why, f"Where to look: {m.look}"]
    error = next((t.got.error for t in trials if t.fault and t.got.error), None)
    if error is not None:
        said.insert(1, f"That is why it raises {type(error).__name__}: {error}")
    if not whole:
        said.append("Something else differs too; put this right first, then check again.")
    if changed := next((t.got.changed for t in trials if t.got.changed), ()):
        said.append(f"It also changes its argument {' and '.join(changed)}; work on a copy.")
    return _fail(exercise, "misconception", *said, misconception=m.title)


def _changes(exercise: Exercise, trial: Trial) -> Result:
    return _fail(
        exercise,
        "changes",
        f"The result is right, but your function changes its argument {' and '.join(trial.got.changed)}, "
        "which still belongs to its caller.",
        "Make a new array (w = w + step) rather than change the old one (w += step, w[0] = ...), or copy it first.",
        code=_show(exercise, trial.case),
    )


def _unknown(exercise: Exercise, trial: Trial, right: int, total: int, seed: int) -> Result:
    """No known mistake: the first failing case, and the next hint."""
    fault, got = trial.fault, trial.got
    assert fault is not None
    said = {
        "endless": f"Your code was stopped after {exercise.seconds:g} s. It loops without end, or is far too slow.",
        "prints": "Your function prints its result instead of returning it. Put `return` where `print` is.",
        "none": "Your function returns nothing (None). End it with `return` and the result.",
        "exception": f"Your code raises {_error(got)}",
    }.get(fault.kind, fault.text)
    code = _show(exercise, trial.case)
    if got.value is not None and trial.want.value is not None and fault.kind not in ("prints", "none"):
        code += f"\nexpected  {short(trial.want.value)}\ngot       {short(got.value)}"
    if got.printed.strip():
        code += "\n" + "\n".join(f"printed   {line[:100]}" for line in got.printed.strip().splitlines()[:3])
    where = f"Correct on {right} of {total} cases. The first that is not:"
    if fault.kind == "endless":
        where = "The case on which it was stopped:"
    again = f'The same cases again: check("{exercise.number}", ..., seed={seed})'
    return _fail(exercise, fault.kind, said, where, code=code, footer=(_next_hint(exercise), again))


def _error(got: Outcome) -> str:
    text = f"{type(got.error).__name__}: {str(got.error)[:300]}"
    return f"{text}\nat {got.line}" if got.line else text


def _a_value(answer: Any) -> str:
    return "None: does the function end in `return`?" if answer is None else short(answer)


def _show(exercise: Exercise, case: Case) -> str:
    names = exercise.argument_names()
    shown = [f"case      {case.label}"]
    for i, arg in enumerate(case.args):
        shown.append(f"{names[i] if i < len(names) else f'argument {i + 1}':<9} {short(arg)}")
    return "\n".join(shown)
