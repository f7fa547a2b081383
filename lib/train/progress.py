"""What one sees while a run goes on: a progress bar, and in a notebook also the loss as a curve."""

from __future__ import annotations

import time
from typing import Any, Literal

from lib.train.config import TrainConfig

Show = Literal["bar", "plot", "none"]


class Progress:
    """A bar with the loss, examples a second and the time left; the curve below it with "plot"."""

    PAUSE = 0.2
    """Seconds between two updates of the bar's figures."""

    def __init__(self, config: TrainConfig, step: int, rows: list[dict[str, float]], show: Show) -> None:
        from tqdm import tqdm

        self.batch, self.rows = config.batch, rows
        self.bar = tqdm(total=config.steps, initial=step, unit="step", disable=show == "none", dynamic_ncols=True)
        self.curve = Curve() if show == "plot" and Curve.possible() else None
        self._next = 0.0

    def update(self) -> None:
        """A step was made: its row is the last."""
        now = time.monotonic()
        if now >= self._next and not self.bar.disable:
            self._next = now + self.PAUSE
            rate = self.bar.format_dict["rate"]
            speed = f"{rate * self.batch:.0f}" if rate else "?"
            self.bar.set_postfix_str(f"loss {self.rows[-1]['loss']:.4g}, {speed} examples/s", refresh=False)
        self.bar.update()
        if self.curve:
            self.curve.update(self.rows)

    def close(self) -> None:
        """Leave the last figures standing."""
        if not self.bar.disable and self.bar.n > self.bar.initial:
            rate = self.bar.format_dict["rate"] or 0
            self.bar.set_postfix_str(f"loss {self.rows[-1]['loss']:.4g}, {rate * self.batch:.0f} examples/s")
        self.bar.close()
        if self.curve:
            self.curve.update(self.rows, last=True)


class Curve:
    """The loss against the step, drawn again now and then: at most twice a second, and a twentieth of the time."""

    PAUSE, SHARE = 0.5, 20
    """Seconds between two drawings, and at least this many times what the last one took."""
    POINTS = 400
    """At most: with more rows, each point is the mean of some that follow each other."""

    def __init__(self) -> None:
        self._next = time.monotonic() + self.PAUSE
        self._handle: Any = None

    @staticmethod
    def possible() -> bool:
        """Whether this is a notebook, and matplotlib is there."""
        try:
            import matplotlib as _  # noqa: F401
            from IPython.core.getipython import get_ipython
        except ImportError:
            return False
        return hasattr(get_ipython(), "kernel")  # IPython in a terminal has none, and shows no figures

    def update(self, rows: list[dict[str, float]], last: bool = False) -> None:
        """Draw, if it is time."""
        began = time.monotonic()
        if not rows or (began < self._next and not last):
            return
        from IPython.display import display
        from matplotlib import pyplot as plt

        figure = draw(rows, self.POINTS)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)
        now = time.monotonic()
        self._next = now + max(self.PAUSE, self.SHARE * (now - began))


def draw(rows: list[dict[str, float]], points: int = 400) -> Any:
    """A figure of the loss in rows: each step's, or the mean of some neighbours where there are many."""
    from matplotlib import pyplot as plt

    from lib.plot import COLOURS, caption

    width = -(-len(rows) // points)
    groups = [rows[i : i + width] for i in range(0, len(rows), width)]
    figure, axes = plt.subplots(figsize=(6, 2.5))
    axes.plot([g[-1]["step"] for g in groups], [sum(r["loss"] for r in g) / len(g) for g in groups], color=COLOURS[0])
    axes.set(xlabel="step", ylabel="loss")
    caption(figure, "The loss of each step." if width == 1 else f"The loss, each point the mean of {width} steps.")
    return figure
