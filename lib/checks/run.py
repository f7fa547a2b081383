"""Run an answer on one case and note all that happened: result, error, prints, changed arguments.

A loop without end is stopped from outside: a watching thread sends the main thread the signal of Ctrl-C, which also
wakes a sleeping call, and a handler of ours turns it into `Stopped`. `Stopped` is no `Exception`, so `except
Exception` does not swallow it; where `except:` does, the learner's next line raises it again, outside that `try`.
A real Ctrl-C goes through. One loop cannot be stopped, on Python 3.10 only: a `try` without a call inside, round which
that interpreter handles no signal at all.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import inspect
import io
import linecache
import random
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.random  # loaded here: NumPy loads it late, and a Ctrl-C while it loads is lost

from lib.checks.compare import Frozen, Tolerance, differ, freeze
from lib.checks.declare import Case, Exercise

KEEP = 2000
"""How many characters of what a learner prints are kept."""


class Stopped(BaseException):
    """The time was up."""


@dataclass
class Outcome:
    """What one run on one case did."""

    value: Frozen | None = None
    error: BaseException | None = None
    line: str = ""  # the learner's line that raised `error`
    printed: str = ""
    changed: tuple[str, ...] = ()
    stopped: bool = False


class _Head(io.TextIOBase):
    """A text stream that keeps only the beginning, so that an endless loop of prints cannot fill the memory."""

    def __init__(self):
        self.text = ""

    def write(self, s: str) -> int:
        self.text += s[: KEEP - len(self.text)] if len(self.text) < KEEP else ""
        return len(s)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise Stopped in this thread when the block takes longer than `seconds`."""
    done, sent, active = threading.Event(), threading.Event(), True
    outer = set(_frames(inspect.currentframe()))
    tracing = sys.gettrace()
    thread = threading.get_ident()
    is_main = threading.current_thread() is threading.main_thread()

    def watch() -> None:
        pause = seconds
        while not done.wait(pause):
            sent.set()
            _interrupt(thread, is_main)
            pause = 0.05

    def handle(signum: int, frame: Any) -> None:
        if sent.is_set():
            if active:
                _raise_on_next_line([f for f in _frames(frame) if f not in outer and f.f_code.co_filename != __file__])
                raise Stopped
        elif callable(before):
            before(signum, frame)

    before = signal.signal(signal.SIGINT, handle) if is_main else None
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        active = False
        sys.settrace(tracing)
        done.set()
        watcher.join()
        if is_main:
            signal.signal(signal.SIGINT, before)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _raise_on_next_line(frames: list[FrameType]) -> None:
    """Make each of these frames raise Stopped at its next line, should it swallow the first one."""

    def strike(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            raise Stopped
        return strike

    for frame in frames:
        frame.f_trace = strike
    sys.settrace(lambda *_: None)  # switches tracing on, for no new frame


def _interrupt(thread: int, is_main: bool) -> None:
    if not is_main:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Stopped))
    elif hasattr(signal, "pthread_kill"):
        signal.pthread_kill(thread, signal.SIGINT)
    else:  # Windows
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def luck_kept() -> Iterator[None]:
    """Put the global random numbers back to where they were."""
    torch = sys.modules.get("torch")
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
        if torch:
            torch.set_rng_state(saved[2])


def _same_luck(seed: int) -> None:
    """Seed the global random numbers, so that every answer meets the same ones."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also prepares for GPUs: 20 times slower


def run(exercise: Exercise, answer: Any, case: Case, seed: int) -> Outcome:
    """Run `answer` on a copy of the case's arguments. Only Stopped and a real Ctrl-C come out as exceptions."""
    args = copy.deepcopy(case.args)
    call = answer if exercise.use is None else lambda *a: exercise.use(answer, *a)  # pyright: ignore[reportOptionalCall]
    out, head = Outcome(), _Head()
    try:
        with contextlib.redirect_stdout(head), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            _same_luck(seed)
            value = call(*args)
    except KeyboardInterrupt:
        raise
    except Stopped:
        out.stopped = True
    except BaseException as error:  # SystemExit too: exit() in an answer must not end the reader's kernel
        out.error, out.line = error, _line_of(error)
    else:
        names = exercise.argument_names()
        wanted = [args[names.index(name)] for name in exercise.changes]
        out.value = freeze((value, *wanted) if wanted else value)
    out.printed = head.text
    out.changed = _changed(exercise, args, case.args)
    return out


def run_all(
    exercise: Exercise, answer: Any, cases: list[tuple[Case, int]], seconds: float | None = None
) -> list[Outcome]:
    """The outcome of each case in order; with a time limit, the list ends at the case that was stopped."""
    outcomes: list[Outcome] = []
    try:
        with luck_kept(), time_limit(seconds) if seconds else contextlib.nullcontext():
            for case, seed in cases:
                outcomes.append(run(exercise, answer, case, seed))
                if outcomes[-1].stopped:
                    break
    except Stopped:  # it struck between two runs
        if len(outcomes) < len(cases):
            outcomes.append(Outcome(stopped=True))
    return outcomes


def _changed(exercise: Exercise, after: tuple, before: tuple) -> tuple[str, ...]:
    names = exercise.argument_names()
    exact, changed = Tolerance(0.0, 0.0, same_dtype=True), []
    for i, (a, b) in enumerate(zip(after, before, strict=True)):
        name = names[i] if i < len(names) else f"argument {i + 1}"
        frozen = freeze(b)
        if frozen.kind != "other" and name not in exercise.changes and differ(freeze(a), frozen, exact):
            changed.append(name)
    return tuple(changed)


def _line_of(error: BaseException) -> str:
    """`line 3: y = x @ w` for the innermost line of the learner's own code; "" where there is none."""
    found = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not _is_library(file):
            text = linecache.getline(file, number, frame.f_globals).strip()
            found = f"line {number}" + (f": {text}" if text else "")
    return found


_LIBRARIES = tuple(
    str(Path(p).resolve())
    for p in (Path(__file__).parent.parent, *(sysconfig.get_paths()[k] for k in ("stdlib", "purelib", "platlib")))
)


def _is_library(file: str) -> bool:
    return file.startswith("<frozen") or str(Path(file).resolve()).startswith(_LIBRARIES)


def signature_problem(exercise: Exercise, answer: Callable, case: Case) -> str:
    """A sentence where `answer` cannot take the case's arguments; "" where it can or where nobody knows."""
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*case.args)
    except TypeError:
        takes = ", ".join(signature.parameters) or "no arguments"
        names = exercise.argument_names()[: len(case.args)]
        calls = ", ".join(names) or f"{len(case.args)} arguments"
        return f"It takes ({takes}), but it is called with ({calls})."
    return ""
