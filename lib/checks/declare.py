"""What a chapter declares: exercises, their cases and the misconceptions that the cases tell apart."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.checks.compare import Tolerance

DRAWS = 8
"""How many fresh draws each random case gets in one check."""


class Case:
    """A fixed case: a label for messages, and the arguments. `raises` names the error that the right answer raises."""

    def __init__(self, label: str, *args: Any, raises: type[Exception] | None = None):
        self.label, self.args, self.raises = label, args, raises


@dataclass(frozen=True)
class Misconception:
    """A known mistake, runnable. `title` completes the sentence "It looks as if your code ..."."""

    title: str
    answer: Any  # what a learner with this misconception would pass to check
    why: str
    look: str


@dataclass(frozen=True)
class Exercise:
    """One exercise: the right answer, the cases it is tried on, and what usually goes wrong."""

    number: str
    title: str
    minutes: int = 10
    difficulty: int = 1
    reference: Any = None
    """The right answer; where it is not a function or class, the answer is compared with it as a value."""
    cases: Sequence[Case | Callable[[np.random.Generator], tuple]] = ()
    misconceptions: Sequence[Misconception] = ()
    hints: Sequence[str] = ()
    alternatives: Sequence[Any] = ()
    use: Callable[..., Any] | None = None
    """use(answer, *args) runs an answer that is a class or needs a harness; by default answer(*args)."""
    rtol: float = 1e-6
    atol: float = 1e-8
    names: Sequence[str] = ()
    same_dtype: bool = False
    """True: the answer must have the reference's dtype. A Boolean answer must be Boolean in any case."""
    changes: Sequence[str] = ()
    """Arguments that the answer is meant to change; what they hold after the call is compared too."""
    seconds: float = 10.0
    """The answer is stopped when all cases together take longer."""

    def __post_init__(self):
        def need(ok: bool, what: str) -> None:
            if not ok:
                raise ValueError(f"Exercise {self.number!r}: {what}")

        need(isinstance(self.number, str) and _parts(self.number) is not None, 'the number is a string like "10.1"')
        need(len(self.hints) == 3 and all(str(h).strip() for h in self.hints), "give three hints, none of them empty")
        need(self.difficulty in (1, 2, 3), f"difficulty is 1, 2 or 3, not {self.difficulty!r}")
        need(self.minutes > 0, f"minutes must be above 0, not {self.minutes!r}")
        need(self.is_value or len(self.cases) > 0, "a reference that is a function needs cases")
        need(not (self.is_value and self.cases), "a reference that is a plain value has no cases")
        need(set(self.changes) <= set(self.argument_names()), "`changes` must name arguments; see `names`")

    @property
    def tolerance(self) -> Tolerance:
        return Tolerance(self.rtol, self.atol, self.same_dtype)

    @property
    def is_value(self) -> bool:
        return not callable(self.reference) and self.use is None

    def argument_names(self) -> tuple[str, ...]:
        if self.names or self.is_value or self.use:
            return tuple(self.names)
        return tuple(inspect.signature(self.reference).parameters)

    def draw(self, seed: int, draws: int = DRAWS) -> list[tuple[Case, int]]:
        """The cases of one check, each with the seed it runs under: `draws` of each random case, then the fixed."""
        drawn, fixed = [], []
        for i, case in enumerate(self.cases):
            if isinstance(case, Case):
                fixed.append((case, seed))
                continue
            for j in range(draws):
                args = case(np.random.default_rng([seed, i, j]))
                if not isinstance(args, tuple):
                    raise TypeError(
                        f"Exercise {self.number}: the random case {case.__name__} must return a tuple of arguments, "
                        f"not {type(args).__name__}"
                    )
                drawn.append((Case(_label(case), *args), seed + j))
        return drawn + fixed


def _label(case: Callable) -> str:
    name = getattr(case, "__name__", "<lambda>").strip("_").replace("_", " ")
    return "random case" if name == "<lambda>" else "random " + name.removeprefix("random ")


def _parts(number: str) -> tuple[int, int] | None:
    pieces = number.split(".")
    return (int(pieces[0]), int(pieces[1])) if len(pieces) == 2 and all(p.isdigit() for p in pieces) else None


def modules(chapter: int | None = None) -> Iterator[Any]:
    """The check modules of one chapter, or of all."""
    import lib.checks

    prefix = "ch" if chapter is None else f"ch{chapter:02d}_"
    for info in pkgutil.iter_modules(lib.checks.__path__):
        if info.name.startswith(prefix) and info.name[2:4].isdigit():
            yield importlib.import_module(f"lib.checks.{info.name}")


def exercises(chapter: int | None = None) -> list[Exercise]:
    """All declared exercises, of one chapter or of the course, in order."""
    found = [e for module in modules(chapter) for e in getattr(module, "EXERCISES", ())]
    return sorted(found, key=lambda e: _parts(e.number) or (0, 0))


def find(number: str) -> Exercise:
    """The exercise of that number; ValueError with the nearest numbers where there is none."""
    parts = _parts(number) if isinstance(number, str) else None
    if parts is None:
        raise ValueError(f'An exercise is named by its number in quotation marks, like "10.1"; this was {number!r}.')
    here = exercises(parts[0])
    for exercise in here:
        if _parts(exercise.number) == parts:
            return exercise
    known = [e.number for e in here or exercises()]
    near = difflib.get_close_matches(number, known, n=3, cutoff=0.3) or known[:3]
    raise ValueError(f"There is no exercise {number}. Did you mean {', '.join(near) or 'another number'}?")
