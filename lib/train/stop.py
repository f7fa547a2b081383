"""Ctrl-C, and what a machine sends before it shuts down: the step is finished, the run saved, and then it stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and has stopped after a whole step."""

    def __init__(self, text: str, step: int = 0, checkpoint: str = "") -> None:
        super().__init__(text)
        self.step = step
        """Steps made."""
        self.checkpoint = checkpoint
        """The checkpoint of that step; "" where there is no folder or it could not be written."""


class Stop:
    """While in its `with` block: `asked` becomes True at SIGINT or SIGTERM. A second SIGINT interrupts at once.

    Python runs signal handlers in the main thread alone; in another thread nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
