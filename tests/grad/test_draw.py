"""The drawing of a graph."""

import matplotlib
import numpy as np
import pytest

from lib.grad import Tensor, Value, draw_graph

matplotlib.use("Agg")


def texts(figure):
    figure.canvas.draw()
    return [t.get_text() for t in figure.axes[0].texts if t.get_text()]


def test_every_node_is_drawn_with_name_number_and_gradient():
    w, x = Value(2.0), Value(3.0)
    y = (w * x).tanh()
    y.backward()
    assert sorted(t.split("\n")[0] for t in texts(draw_graph(y, w=w, y=y))) == ["*", "3", "w", "y = tanh"]
    assert any(t.startswith("w\n2\ngrad ") for t in texts(draw_graph(y, w=w)))


def test_a_tensor_shows_its_shape():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    assert sorted(texts(draw_graph(x.sum(), x=x))) == ["sum\n6", "x\n(2, 3)"]


def test_boxes_do_not_lie_on_each_other():
    x = Value(1.0)
    for _ in range(6):
        x = x * x + x
    figure = draw_graph(x)
    figure.canvas.draw()
    boxes = [t.get_bbox_patch().get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_what_it_refuses():
    loss = Tensor(np.ones(3), requires_grad=True).sum()
    loss.backward()
    with pytest.raises(ValueError, match="freed this graph; draw it before"):
        draw_graph(loss)
    x = Value(1.0)
    for _ in range(300):
        x = x.exp().log()
    with pytest.raises(ValueError, match="601 nodes are too many"):
        draw_graph(x)
