"""Near variants of the declared misconceptions: the same mistake in another dress, which a check must still name."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lib.checks.core import diagnose
from lib.checks.declare import Exercise, Misconception


@dataclass(frozen=True)
class Dressed:
    """A misconception whose result (and arguments, after the call) go through `dress`."""

    answer: Any
    dress: Callable[[Any, tuple], Any]

    def __call__(self, *args: Any) -> Any:
        return self.dress(self.answer(*args), args)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """`change` applied to every array and float inside a result."""
    if isinstance(value, (list, tuple)):
        return type(value)(_each(v, change) for v in value)
    if isinstance(value, dict):
        return {k: _each(v, change) for k, v in value.items()}
    return change(value)


def _to_float32(value: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.float64 else value
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if value.dtype == np.float64 else value
    return np.float32(value) if isinstance(value, float) else value


def _to_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim else value


def _float32(result: Any, args: tuple) -> Any:
    return _each(result, _to_float32)


def _list(result: Any, args: tuple) -> Any:
    return _each(result, _to_list)


def _in_place(result: Any, args: tuple) -> Any:
    result = copy.deepcopy(result)
    for arg in args:
        if isinstance(arg, np.ndarray) and arg.dtype.kind == "f":
            arg += 1
    return result


DRESSES: dict[str, Callable[[Any, tuple], Any]] = {"float32": _float32, "list": _list, "in place": _in_place}


def named(
    exercise: Exercise, misconception: Misconception, seeds: tuple[int, ...] = (1, 2, 3)
) -> Iterator[tuple[str, bool]]:
    """For each variant its name and whether the check names the misconception."""
    for seed in seeds:
        yield f"seed {seed}", _is_named(exercise, misconception, misconception.answer, seed)
    for name, dress in DRESSES.items():
        if exercise.is_value:
            yield name, _is_named(exercise, misconception, dress(misconception.answer, ()), 0)
            continue
        dressed = Dressed(misconception.answer, dress)
        yield name, _is_named(_for_dressed(exercise), misconception, dressed, 0)


def _for_dressed(exercise: Exercise) -> Exercise:
    """The exercise with a harness that undresses the answer, runs it as usual and dresses the result."""
    if exercise.use is None:
        return exercise
    inner = exercise.use

    def use(answer: Any, *args: Any) -> Any:
        if isinstance(answer, Dressed):
            return answer.dress(inner(answer.answer, *args), args)
        return inner(answer, *args)

    return replace(exercise, use=use)


def _is_named(exercise: Exercise, misconception: Misconception, answer: Any, seed: int) -> bool:
    return diagnose(exercise, answer, seed).misconception == misconception.title
