"""What a learner sees: a small panel, as HTML in Jupyter and as plain text elsewhere."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib.checks.compare import Frozen

WIDTH = 100
"""Values are shown in at most this many characters."""


@dataclass(frozen=True)
class Panel:
    """A heading, paragraphs and one block of code, said with a sign and words as well as with a colour."""

    sign: str
    heading: str
    colour: str
    paragraphs: tuple[str, ...] = ()
    code: str = ""
    footer: tuple[str, ...] = ()

    def __repr__(self) -> str:
        block = "\n".join(f"  {line}" for line in self.code.splitlines())
        parts = [f"{self.sign} {self.heading}", *self.paragraphs, block, *self.footer]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        def text(paragraphs: tuple[str, ...]) -> str:
            return "".join(f'<p style="margin:.3em 0;white-space:pre-line">{html.escape(p)}</p>' for p in paragraphs)

        code = f'<pre style="margin:.3em 0;white-space:pre-wrap">{html.escape(self.code)}</pre>' if self.code else ""
        return (
            f'<div role="status" style="border-left:.35em solid {self.colour};padding:.1em .8em;max-width:60em">'
            f"<strong>{html.escape(self.sign)} {html.escape(self.heading)}</strong>"
            f"{text(self.paragraphs)}{code}{text(self.footer)}</div>"
        )


@dataclass(frozen=True, repr=False)
class Result(Panel):
    """The verdict of one check. `kind` is "pass", "misconception", or the name of the fault (see core.py)."""

    passed: bool = False
    kind: str = ""
    misconception: str | None = field(default=None)


GREEN, RED, BLUE = "#2e8b57", "#c0392b", "#3b7dd8"
"""Each at least 3:1 against white and against Jupyter's dark background; the sign and the words say the same."""


def short(value: Any) -> str:
    """One line that shows a value: the numbers, then shape and dtype where there are several."""
    from lib.checks.compare import freeze

    return _short(value if isinstance(value, Frozen) else freeze(value))


def _short(frozen: Frozen) -> str:
    if frozen.kind == "array":
        a = frozen.value
        numbers = _cut(_numbers(a))
        return f"{numbers}  ({frozen.name}, shape {a.shape}, {a.dtype})" if a.ndim else f"{numbers}  ({frozen.name})"
    if frozen.kind == "number":
        return _numbers(frozen.value)
    if frozen.kind == "sequence":
        inside = ", ".join(_short(item) for item in frozen.value[:6]) + (", ..." if len(frozen.value) > 6 else "")
        comma = "," if len(frozen.value) == 1 and frozen.name == "tuple" else ""
        return _cut(f"[{inside}]" if frozen.name == "list" else f"({inside}{comma})", 2 * WIDTH)
    if frozen.kind == "mapping":
        return _cut("{" + ", ".join(f"{k!r}: {_short(v)}" for k, v in frozen.value.items()) + "}", 2 * WIDTH)
    name = getattr(frozen.value, "__name__", None)
    if frozen.kind == "other" and (name or " at 0x" in repr(frozen.value)):  # no addresses: they say nothing
        return name or f"a {frozen.name}"
    return _cut(repr(frozen.value))


def _numbers(a: np.ndarray) -> str:
    if a.dtype == object:
        return str(a.tolist())
    text = np.array2string(a, precision=5, threshold=24, edgeitems=3, separator=", ", suppress_small=False)
    return " ".join(text.split())


def _cut(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 4] + " ..."
