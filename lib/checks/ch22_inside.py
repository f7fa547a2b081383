"""Checks of 22_seeing_inside on reading a network: a hook, and saliency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from lib.checks import Exercise, Misconception

LOOK_HOOK = "Section 3 of 22_seeing_inside, 'A hook'"
LOOK_SALIENCY = "Section 5 of 22_seeing_inside, 'Which pixels does the score hang on?'"


def normal(rng: Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


# 22.1 -----------------------------------------------------------------------------------------------------------------


def collect(net, x, names):
    found = {}

    def listener(name):
        def hook(layer, inputs, output):
            found[name] = output.detach()

        return hook

    handles = [net.get_submodule(name).register_forward_hook(listener(name)) for name in names]
    try:
        net(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _collect_default(net, x, names):
    found, handles = {}, []
    try:
        for name in names:
            layer = dict(net.named_modules())[name]
            handles.append(layer.register_forward_hook(lambda m, i, o, name=name: found.update({name: o.detach()})))
        net(x)
    finally:
        _ = [handle.remove() for handle in handles]
    return found


def _hooked(net, x, names, keep, tidy=True):
    """`keep(inputs, output)` of each named layer; hooks are removed at the end where `tidy`."""
    found = {}

    def listener(name):
        def hook(layer, inputs, output):
            found[name] = keep(inputs, output)

        return hook

    handles = [net.get_submodule(name).register_forward_hook(listener(name)) for name in names]
    net(x)
    for handle in handles if tidy else []:
        handle.remove()
    return found


def _collect_leaves(net, x, names):
    return _hooked(net, x, names, lambda inputs, output: output.detach(), tidy=False)


def _collect_not_finally(net, x, names):
    return _hooked(net, x, names, lambda inputs, output: output.detach())


def _collect_inputs(net, x, names):
    return _hooked(net, x, names, lambda inputs, output: inputs[0].detach())


def _collect_graph(net, x, names):
    return _hooked(net, x, names, lambda inputs, output: output)


def _collect_late(net, x, names):
    found, handles = {}, []
    for name in names:

        def hook(layer, inputs, output):
            found[name] = output.detach()  # noqa: B023

        handles.append(net.get_submodule(name).register_forward_hook(hook))
    net(x)
    for handle in handles:
        handle.remove()
    return found


def _n_hooks(net: nn.Module) -> int:
    return sum(len(layer._forward_hooks) for layer in net.modules())


def _listen(answer: Callable, w1: Tensor, w2: Tensor, x: Tensor, names: list[str]) -> dict[str, Any]:
    """Listen to a network of three layers, then once more with an input that makes it fail."""
    first, second = nn.Linear(*reversed(w1.shape), bias=False), nn.Linear(*reversed(w2.shape), bias=False)
    first.weight, second.weight = nn.Parameter(w1), nn.Parameter(w2)
    net = nn.Sequential()
    for name, layer in {"first": first, "bend": nn.ReLU(), "second": second}.items():
        net.add_module(name, layer)
    found = answer(net, x, list(names))
    if not isinstance(found, dict):
        raise TypeError(f"collect must return a dict of name to tensor; it returned {type(found).__name__}")
    report = {
        "activations": found,
        "gradients still recorded": any(getattr(a, "requires_grad", False) for a in found.values()),
        "hooks left": _n_hooks(net),
    }
    try:
        answer(net, x[:, :-1], list(names))
    except RuntimeError:  # torch's own complaint about the shapes
        report["hooks left by a call that failed"] = _n_hooks(net)
    return report


def _hook_case(rng: Generator) -> tuple:
    n, d, h, k = (int(i) for i in rng.integers(2, 6, 4))
    names = [["first", "bend", "second"], ["bend", "first"], ["second", "bend"]][int(rng.integers(3))]
    return normal(rng, h, d + 1), normal(rng, k, h), normal(rng, n, d + 1), names


# 22.2 -----------------------------------------------------------------------------------------------------------------


def saliency(net, x, k):
    x = x.clone().requires_grad_()
    chosen = net(x).gather(1, k[:, None])
    g = torch.autograd.grad(chosen.sum(), x)[0]
    return g.abs().amax(dim=1)


def _saliency_backward(net, x, k):
    x = x.detach().clone()
    x.requires_grad = True
    net(x)[torch.arange(len(x)), k].sum().backward()
    return x.grad.abs().max(dim=1).values


def _pixel_gradient(net, x, k, chosen: Callable = lambda z, k: z.gather(1, k[:, None]).sum()):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(chosen(net(x), k), x)[0]


def _saliency_accumulates(net, x, k):
    x.requires_grad_()
    net(x).gather(1, k[:, None]).sum().backward()
    return x.grad.abs().amax(dim=1)


def _saliency_marks_x(net, x, k):
    x.requires_grad_()
    return torch.autograd.grad(net(x).gather(1, k[:, None]).sum(), x)[0].abs().amax(dim=1)


def _saliency_probability(net, x, k):
    return _pixel_gradient(net, x, k, lambda z, k: z.softmax(1).gather(1, k[:, None]).sum()).abs().amax(dim=1)


def _saliency_loss(net, x, k):
    return _pixel_gradient(net, x, k, lambda z, k: F.cross_entropy(z, k, reduction="sum")).abs().amax(dim=1)


def _saliency_mean_loss(net, x, k):
    return _pixel_gradient(net, x, k, F.cross_entropy).abs().amax(dim=1)


def _saliency_signed_sum(net, x, k):
    return _pixel_gradient(net, x, k).sum(dim=1).abs()


def _saliency_no_abs(net, x, k):
    return _pixel_gradient(net, x, k).amax(dim=1)


def _saliency_mean_channels(net, x, k):
    return _pixel_gradient(net, x, k).abs().mean(dim=1)


def _saliency_all_classes(net, x, k):
    return _pixel_gradient(net, x, k, lambda z, k: z.sum()).abs().amax(dim=1)


def _saliency_largest(net, x, k):
    return _pixel_gradient(net, x, k, lambda z, k: z.amax(dim=1).sum()).abs().amax(dim=1)


def _saliency_mean_images(net, x, k):
    return _pixel_gradient(net, x, k, lambda z, k: z.gather(1, k[:, None]).mean()).abs().amax(dim=1)


def _saliency_weights(net, x, k):
    weight = next(net.parameters())
    return torch.autograd.grad(net(x).gather(1, k[:, None]).sum(), weight)[0].abs().amax(dim=1)


def small_net(kernels: Tensor, weight: Tensor) -> nn.Sequential:
    """A convolution with stride 2, a bend, and a linear layer: (N, 3, H, W) to (N, classes), float64."""
    conv = nn.Conv2d(3, len(kernels), 3, stride=2, bias=False)
    head = nn.Linear(weight.shape[1], len(weight), bias=False)
    conv.weight, head.weight = nn.Parameter(kernels), nn.Parameter(weight)
    return nn.Sequential(conv, nn.Tanh(), nn.Flatten(), head)


def net_case(rng: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kernels and weights of a small_net, pixels from 0 to 1 of height 5 and width 7, and a class for each image."""
    n, c, k = int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(3, 6))
    x = torch.from_numpy(rng.uniform(0, 1, (n, 3, 5, 7)))
    return 0.4 * normal(rng, c, 3, 3, 3), 0.7 * normal(rng, k, c * 6), x, torch.from_numpy(rng.integers(0, k, n))


def _ask_twice(answer: Callable, kernels: Tensor, weight: Tensor, x: Tensor, k: Tensor) -> dict[str, Any]:
    """The maps of the same images for two classes, one call after the other."""
    net, x = small_net(kernels, weight), x.clone()
    return {
        "the map": torch.as_tensor(answer(net, x, k.clone())).detach().clone(),
        "the map for the next class": answer(net, x, (k + 1) % len(weight)),
        "x asks for gradients afterwards": x.requires_grad,
    }


EXERCISES = [
    Exercise(
        "22.1",
        "A hook",
        minutes=15,
        difficulty=2,
        reference=collect,
        use=_listen,
        cases=[_hook_case],
        misconceptions=[
            Misconception(
                "leaves the hooks on the layers",
                _collect_leaves,
                why="A hook stays until its handle's `remove()` is called. Each later call of the network then runs "
                "all the old hooks too, and keeps old activations in memory.",
                look=LOOK_HOOK,
            ),
            Misconception(
                "removes the hooks only when nothing fails",
                _collect_not_finally,
                why="When the network raises an error, the lines below it are not reached. Put the call in `try` and "
                "the removal in `finally`, which runs in either case.",
                look=LOOK_HOOK,
            ),
            Misconception(
                "stores everything under the last name",
                _collect_late,
                why="A function that is defined in a loop looks the loop's variable up when it *runs*, and by then "
                "the loop is over. Give each hook its own name: make it in a function that takes the name.",
                look=LOOK_HOOK,
            ),
            Misconception(
                "keeps what goes into a layer",
                _collect_inputs,
                why="A forward hook gets (layer, inputs, output). The activation is the third.",
                look=LOOK_HOOK,
            ),
            Misconception(
                "keeps the record for gradients alive",
                _collect_graph,
                why="A stored output holds on to everything that made it, so that gradients could flow back. "
                "`output.detach()` keeps the numbers and lets the rest go.",
                look=LOOK_HOOK,
            ),
        ],
        hints=(
            "Three jobs: hang a hook on each named layer, run the network once, take the hooks down whatever happens.",
            "net.get_submodule(name).register_forward_hook(f) returns a handle. f must know its own name: make it in "
            "a function listener(name).",
            "hook(layer, inputs, output): found[name] = output.detach(). Then try: net(x) finally: handle.remove() "
            "for each handle.",
        ),
        alternatives=[_collect_default],
        names=("w1", "w2", "x", "names"),
    ),
    Exercise(
        "22.2",
        "Saliency",
        minutes=15,
        difficulty=2,
        reference=saliency,
        use=_ask_twice,
        cases=[net_case],
        misconceptions=[
            Misconception(
                "lets gradients pile up in x.grad",
                _saliency_accumulates,
                why="`backward()` adds to what is in `.grad`, so the second map of the same images holds both "
                "gradients. Work on a copy of x, or use torch.autograd.grad, which returns and does not add.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "leaves the caller's x asking for gradients",
                _saliency_marks_x,
                why="`requires_grad_()` changes the tensor itself. From then on torch records whatever the caller "
                "computes from x. Mark a copy: x.clone().requires_grad_().",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "differentiates the probability",
                _saliency_probability,
                why="The softmax is flat where the network is sure, and it mixes in all other classes. The logit of "
                "the class says what speaks for the class itself.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "differentiates the loss",
                _saliency_loss,
                why="The loss of a class is its probability's logarithm with a minus sign: it too is flat where the "
                "network is sure, and falls when another class falls. Take the logit.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "differentiates the mean loss of the batch",
                _saliency_mean_loss,
                why="Two things: the loss is not the logit, and a mean divides each image's gradient by the number "
                "of images.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "adds up the colours with their signs",
                _saliency_signed_sum,
                why="A pixel whose red must rise and whose blue must fall matters much, and its sum is 0. Take "
                "absolute values first, then the largest.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "forgets the absolute value",
                _saliency_no_abs,
                why="A strongly negative gradient means that the score reacts strongly too.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "averages over the three colours",
                _saliency_mean_channels,
                why="The map asked for is the largest of the three sizes at each place.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "differentiates all logits together",
                _saliency_all_classes,
                why="The sum of all logits belongs to no class. Pick the logit of class k[n] for image n.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "explains the largest logit instead of class k",
                _saliency_largest,
                why="A map belongs to an image and a class. The caller chooses the class.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "takes the mean over the images before it differentiates",
                _saliency_mean_images,
                why="The mean divides every gradient by the number of images, so a map would depend on how many "
                "others were asked for. The sum leaves each its own.",
                look=LOOK_SALIENCY,
            ),
            Misconception(
                "takes the gradient with respect to the weights",
                _saliency_weights,
                why="That is the gradient for training. Here the weights stay, and the question is what a change of "
                "the pixels would do: differentiate with respect to x.",
                look=LOOK_SALIENCY,
            ),
        ],
        hints=(
            "Whose slope, with respect to what? The logit of class k[n], with respect to the pixels of image n.",
            "A copy of x with requires_grad_(); the chosen logits are net(x).gather(1, k[:, None]); their sum gives "
            "each image its own gradient.",
            "g = torch.autograd.grad(chosen.sum(), x)[0]; return g.abs().amax(dim=1).",
        ),
        alternatives=[_saliency_backward],
        names=("kernels", "weight", "x", "k"),
    ),
]
