"""The exercise engine: `check("10.1", answer)` says whether an answer is right and, if not, what the mistake is.

    declare.py    Exercise, Misconception, Case: a check is data, one module per chapter (chNN_topic.py)
    run.py        runs a learner's function on one case: stops endless loops, notes prints, errors, changed arguments
    compare.py    freezes whatever came back and says how two answers differ
    core.py       check and hint: from the outcomes to a diagnosis
    report.py     the Result that a learner sees, as HTML or plain text
    progress.py   the one JSON file that remembers, and a group's files side by side

Needs only NumPy; torch tensors are recognised when torch is already imported.
"""

from lib.checks.core import check, hint
from lib.checks.declare import Case, Exercise, Misconception
from lib.checks.report import Result

__all__ = ["Case", "Exercise", "Misconception", "Result", "check", "hint"]
