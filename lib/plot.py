"""Figures that two chapters or more draw. Each function draws on axes it is given or returns a new figure.

Classes are blue and orange and also differ in marker, so that no figure depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's palette, which people with any form of colour blindness can tell apart."""

MARKERS = ("o", "s", "^", "D")


def caption(fig: Figure, text: str) -> None:
    """Write a one-line caption below everything that the figure holds so far; call it last."""
    fig.draw_without_rendering()
    bottom = fig.get_tightbbox().y0 - 0.1  # inches
    fig.text(0.5, bottom / fig.get_figheight(), text, ha="center", va="top", fontsize=9, style="italic")


def scatter_classes(ax: Axes, X: np.ndarray, y: np.ndarray, names: dict[int, str] | None = None) -> None:
    """Draw points X (n, 2) with one colour and marker for each value of the labels y (n,)."""
    for k, label in enumerate(np.unique(y)):
        name = (names or {}).get(int(label), f"class {int(label):+d}")
        at = X[y == label]
        ax.scatter(
            at[:, 0], at[:, 1], c=COLOURS[k], marker=MARKERS[k], s=28, edgecolors="white", linewidths=0.6, label=name
        )


def decision_surface(
    ax: Axes, f: Callable[[np.ndarray], np.ndarray], X: np.ndarray, y: np.ndarray, level: float = 0.0, n: int = 100
) -> None:
    """Colour the plane by the score f: (n, 2) -> (n,), draw the line f = level, and on top the points X (n, 2).

    The labels y (n,) give each point its colour and marker.
    """
    lo, hi = X.min(0), X.max(0)
    pad = 0.15 * (hi - lo)
    xs, ys = np.linspace(lo[0] - pad[0], hi[0] + pad[0], n), np.linspace(lo[1] - pad[1], hi[1] + pad[1], n)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    s = np.asarray(f(grid.reshape(-1, 2))).reshape(n, n)
    ax.contourf(xs, ys, s > level, levels=[-0.5, 0.5, 1.5], colors=COLOURS[:2], alpha=0.15)
    if s.min() < level < s.max():
        ax.contour(xs, ys, s, levels=[level], colors="black", linewidths=1.5)
    scatter_classes(ax, X, y)


def image_grid(
    images: np.ndarray, titles: Sequence[str] = (), columns: int = 10, size: float = 0.8, cmap: str = "gray_r"
) -> Figure:
    """Show images (n, height, width) in rows of `columns`, each with its title where there is one."""
    rows = -(-len(images) // columns)
    extra = 0.35 if len(titles) else 0.0
    fig, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * (size + extra)), squeeze=False, dpi=90)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image in zip(axes.flat, images, strict=False):
        ax.imshow(image, cmap=cmap)
    for ax, title in zip(axes.flat, titles, strict=False):
        ax.set_title(title, fontsize=8)
    return fig


def family_tree(ax: Axes) -> None:
    """The models of lib/zoo, each joined to its parent, with the choices that it changed on the right."""
    from lib import spec

    known, rows = spec.family(), []

    def walk(name: str, depth: int) -> None:
        at = len(rows)
        rows.append((name, depth))
        for child in [each.name for each in known.values() if each.parent == name]:
            ax.plot([depth, depth, depth + 1], [-at, -len(rows), -len(rows)], color="grey", linewidth=1, zorder=0)
            walk(child, depth + 1)

    for root in [each.name for each in known.values() if not each.parent]:
        walk(root, 0)
    right = max(depth for _, depth in rows) + 2.5
    for row, (name, depth) in enumerate(rows):
        ax.text(depth, -row, name, va="center", color="white", backgroundcolor=COLOURS[0], fontsize=8)
        if known[name].parent:
            changed = ", ".join(spec.diff(known[name].parent, name).choices)
            ax.text(right, -row, changed or "sizes alone", va="center", fontsize=8)
    ax.set(xlim=(-0.1, 2 * right), ylim=(-len(rows), 1))
    ax.axis("off")
