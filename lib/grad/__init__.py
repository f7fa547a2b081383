"""Reverse-mode automatic differentiation, twice: one number at a time (`Value`) and one array at a time (`Tensor`).

    from lib.grad import Tensor, MLP, Adam, cross_entropy, no_grad

    x = Tensor(images)                          # copies; float32 or float64; a constant
    w = Tensor(weights, requires_grad=True)     # to be learned
    loss = cross_entropy(x @ w, labels)         # labels: a NumPy integer array
    loss.backward()                             # w.grad is a NumPy array
    w.data -= 0.1 * w.grad                      # or an optimizer: SGD, Adam, AdamW
    w.grad = None

What there is:

- `Tensor`: `.data .grad .shape .ndim .size .dtype .item() .detach() .backward()`; `+ - * / ** @ -x x[index]`;
  `.exp() .log() .tanh() .sigmoid() .relu() .gelu()`; `.sum .mean .max (axis, keepdims)`;
  `.reshape .permute .transpose .T`. The names are NumPy's for axes (`axis`, `keepdims`) and torch's for the rest.
- functions: `concatenate where gather linear softmax log_softmax cross_entropy layer_norm conv2d max_pool2d`
- layers: `Module Linear MLP Embedding LayerNorm Dropout`; each takes `rng=`, and `dtype=np.float32` to go faster
- optimizers: `SGD Adam AdamW`
- `no_grad()`, and `draw_graph(root, name=node, ...)`, a matplotlib figure of a graph of Values or Tensors

The files: `scalar` (Value), `rules` (the table of operations), `tensor` (Tensor and backward), `memory` (catches
changes in place), `functions`, `nn`, `optim`, `draw`.
"""

from lib.grad.draw import draw_graph
from lib.grad.functions import (
    concatenate,
    conv2d,
    cross_entropy,
    gather,
    layer_norm,
    linear,
    log_softmax,
    max_pool2d,
    softmax,
    where,
)
from lib.grad.nn import MLP, Dropout, Embedding, LayerNorm, Linear, Module
from lib.grad.optim import SGD, Adam, AdamW
from lib.grad.scalar import Value
from lib.grad.tensor import Tensor, no_grad

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "AdamW",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "Tensor",
    "Value",
    "concatenate",
    "conv2d",
    "cross_entropy",
    "draw_graph",
    "gather",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool2d",
    "no_grad",
    "softmax",
    "where",
]
