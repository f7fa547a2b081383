"""The residual network once more, as a function of its weights: windows, matrix products, means. No layer of torch's.

`outcome_ours` and `outcome_theirs` return, for the same weights and images, everything that is compared: the logits,
the gradients of the images and of every parameter, and the running statistics after the pass.
"""

from __future__ import annotations

import numpy as np
import torch

from lib.zoo.resnet import ResNet
from tests.claims import difference

EPS, MOMENTUM = 1e-5, 0.1  # torch's defaults for batch norm


def convolve(x, weight, stride):
    """Cross-correlation with zeros around: windows cut out by slices, then one product for each image."""
    n, _, height, width = x.shape
    size = weight.shape[-1]
    edge = size // 2
    around = x.new_zeros(n, x.shape[1], height + 2 * edge, width + 2 * edge)
    around[:, :, edge : edge + height, edge : edge + width] = x
    rows, columns = range(0, height, stride), range(0, width, stride)
    y = [[around[:, :, i : i + size, j : j + size].flatten(1) @ weight.flatten(1).T for j in columns] for i in rows]
    return torch.stack([torch.stack(row, dim=-1) for row in y], dim=-2)


def normalise(x, state, name, training, running):
    """Batch norm; in training the running statistics go to `running`."""
    n = x.shape[0] * x.shape[2] * x.shape[3]
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        old_mean, old_var = mean, var
        mean = x.transpose(0, 1).flatten(1).sum(1) / n
        var = ((x - mean[:, None, None]) ** 2).transpose(0, 1).flatten(1).sum(1) / n
        running[f"{name}.running_mean"] = old_mean + MOMENTUM * (mean - old_mean)
        running[f"{name}.running_var"] = old_var + MOMENTUM * (var * n / (n - 1) - old_var)
    scale = state[f"{name}.weight"] / (var + EPS) ** 0.5
    return x * scale[:, None, None] + (state[f"{name}.bias"] - mean * scale)[:, None, None]


def forward(state, x, depths, stride, training, running):
    """Logits. The shape of the network is read off the weights' names."""
    y = convolve(x, state["stem.0.weight"], stride)
    y = normalise(y, state, "stem.1", training, running).clamp(min=0)
    block = 0
    for stage, depth in enumerate(depths):
        for place in range(depth):
            name = f"stages.{block}"
            step = 2 if stage and place == 0 else 1
            h = convolve(y, state[f"{name}.conv1.weight"], step)
            h = normalise(h, state, f"{name}.norm1", training, running).clamp(min=0)
            h = convolve(h, state[f"{name}.conv2.weight"], 1)
            h = normalise(h, state, f"{name}.norm2", training, running)
            if f"{name}.shortcut.0.weight" in state:
                y = convolve(y, state[f"{name}.shortcut.0.weight"], step)
                y = normalise(y, state, f"{name}.shortcut.1", training, running)
            y = (y + h).clamp(min=0)
            block += 1
    return y.flatten(2).mean(2) @ state["head.weight"].T + state["head.bias"]


def draw(rng: np.random.Generator):
    """A small network with every number drawn from N(0, 0.2), variances made positive; images; a weighing of logits."""
    n_stages = int(rng.integers(1, 4))
    widths, depths = rng.integers(1, 5, n_stages).tolist(), rng.integers(0, 3, n_stages).tolist()
    n_classes, d_in, stride = (int(k) for k in rng.integers(1, 4, 3))
    model = ResNet(n_classes, d_in, widths, depths, stride).double()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                drawn = torch.from_numpy(np.asarray(rng.normal(0, 0.2, value.shape)))
                value.copy_(drawn**2 + 0.1 if name.endswith("running_var") else drawn)
    height, width = rng.integers(5, 12, 2).tolist()
    x = torch.from_numpy(rng.normal(size=(int(rng.integers(2, 5)), d_in, height, width)))
    return model, depths, stride, x, torch.from_numpy(rng.normal(size=(len(x), n_classes)))


def outcome_theirs(model, depths, stride, x, weighing, training):
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    leaves = [x.clone().requires_grad_(), *(state[name].requires_grad_() for name, _ in model.named_parameters())]
    running = {name: value for name, value in state.items() if ".running_" in name}
    logits = forward(state, leaves[0], depths, stride, training, running)
    gradients = torch.autograd.grad((logits * weighing).sum(), leaves)
    return [logits, *gradients, *(running[name] for name in sorted(running))]


def outcome_ours(model, x, weighing, training):
    model.train(training)
    leaf = x.clone().requires_grad_()
    logits = model(leaf)
    gradients = torch.autograd.grad((logits * weighing).sum(), [leaf, *model.parameters()])
    running = {name: value for name, value in model.state_dict().items() if ".running_" in name}
    return [logits, *gradients, *(running[name] for name in sorted(running))]


def error(training: bool, rng: np.random.Generator) -> float:
    """The largest difference of all that is compared."""
    model, depths, stride, x, weighing = draw(rng)
    theirs = outcome_theirs(model, depths, stride, x, weighing, training)
    ours = outcome_ours(model, x, weighing, training)
    return max(difference(a.detach().numpy(), b.detach().numpy()) for a, b in zip(ours, theirs, strict=True))
