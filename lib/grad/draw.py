"""A picture of a computation: what was made from what, left to right."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from lib.grad.scalar import Node, topological_order
from lib.grad.tensor import FREED, Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NODES = 200
"""A larger picture could not be read."""


def draw_graph(root: Node | Tensor, **names: Node | Tensor) -> Figure:
    """Draw the graph that led to `root`, a `Value` or a `Tensor`: `draw_graph(loss, w=w, b=b)` also writes the names.

    A box is a leaf or a result, with its number and gradient, or its shape where it is an array; the operation stands
    in the first line. Returns a matplotlib figure. For tensors draw before backward(), which frees the graph.
    Raises ValueError for a freed graph and for one of more than 200 nodes.
    """
    order = topological_order(root)
    if any(node._op == FREED for node in order):
        raise ValueError("draw_graph: backward() has freed this graph; draw it before, or backward(retain_graph=True)")
    if len(order) > MOST_NODES:
        raise ValueError(f"draw_graph: {len(order)} nodes are too many to read; draw at most {MOST_NODES}")

    import matplotlib.pyplot as plt

    place = layout(order)
    columns = 1 + max(x for x, _ in place.values())
    height = 1 + max(y for _, y in place.values()) - min(y for _, y in place.values())
    figure, axes = plt.subplots(figsize=(1.9 * columns + 0.4, 0.95 * height + 0.4), layout="constrained")
    axes.axis("off")
    axes.set_xlim(-0.6, columns - 0.4)
    label = {node: name for name, node in names.items()}
    boxes: dict = {}
    for node in order:
        text = axes.annotate(
            describe(node, label.get(node, "")),
            place[node],
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round", "facecolor": "#e8f0fe" if node._prev else "#fef3d8", "edgecolor": "#555555"},
        )
        boxes[node] = text.get_bbox_patch()
        for parent in node._prev:  # drawn after the boxes, whose size is known only then, from edge to edge
            arrow = {"arrowstyle": "-|>", "color": "#888888", "patchA": boxes[parent], "patchB": boxes[node]}
            axes.annotate("", place[node], place[parent], arrowprops=arrow, zorder=text.get_zorder() + 1)
    ys = [y for _, y in place.values()]
    axes.set_ylim(min(ys) - 0.6, max(ys) + 0.6)
    return figure


def layout(order: list) -> dict:
    """Node -> (column, row). A node stands one column right of its last parent, and its height follows its parents'."""
    column: dict = {}
    for node in order:
        column[node] = 1 + max((column[parent] for parent in node._prev), default=-1)
    for node in reversed(order):  # a leaf moves right, to stand beside where it is used
        for parent in node._prev:
            if not parent._prev:
                column[parent] = max(column[parent], min(column[n] for n in order if parent in n._prev) - 1)
    place: dict = {}
    for x in range(1 + max(column.values())):
        members = [node for node in order if column[node] == x]
        wanted = {n: mean([place[p][1] for p in n._prev]) if n._prev else 0.0 for n in members}
        members.sort(key=lambda n: wanted[n])
        middle = mean(wanted.values())
        for i, node in enumerate(members):
            place[node] = (x, middle + i - (len(members) - 1) / 2)
    return place


def describe(node: Node | Tensor, name: str) -> str:
    """The text in a box: name and operation, then what the node holds, then its gradient."""
    title = " = ".join(part for part in (name, node._op) if part)
    if isinstance(node, Tensor) and node.size > 1:
        lines = [title, str(node.shape)]
    else:
        data = node.item() if isinstance(node, Tensor) else node.data
        lines = [title, f"{data:.4g}"]
    if not isinstance(node, Tensor):  # also a Node that a reader built in a notebook
        lines.append(f"grad {node.grad:.4g}")
    elif node.grad is not None:
        lines.append(f"grad {node.grad.item():.4g}" if node.size == 1 else "has grad")
    return "\n".join(line for line in lines if line)
