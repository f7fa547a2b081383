"""Checks of 22_seeing_inside on where in the image a score comes from: Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Exercise, Misconception
from lib.checks.ch22_inside import normal

LOOK_CAM = "Section 8 of 22_seeing_inside, 'Grad-CAM'"


# 22.3 -----------------------------------------------------------------------------------------------------------------


def _pieces(body, top, x, k):
    """The maps, and the gradient of each image's chosen logit with respect to them, both (N, C, h, w)."""
    maps = body(x).detach().requires_grad_()
    return maps.detach(), torch.autograd.grad(top(maps).gather(1, k[:, None]).sum(), maps)[0]


def _enlarge(coarse, x, **how):
    how = how or {"mode": "bilinear", "align_corners": False}
    return F.interpolate(coarse[:, None], size=x.shape[2:], **how)[:, 0]


def grad_cam(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    alpha = grads.mean(dim=(2, 3))
    coarse = F.relu(torch.einsum("nc,nchw->nhw", alpha, maps))
    return _enlarge(coarse, x)


def _cam_broadcast(body, top, x, k):
    maps = body(x)
    maps.retain_grad() if maps.requires_grad else maps.requires_grad_()
    top(maps)[torch.arange(len(x)), k].sum().backward()
    alpha = maps.grad.mean(dim=(2, 3), keepdim=True)
    return _enlarge((alpha * maps).sum(dim=1).clamp(min=0), x)


def _cam_no_relu(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge((grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1), x)


def _cam_late_relu(body, top, x, k):
    return F.relu(_cam_no_relu(body, top, x, k))


def _cam_early_relu(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge(F.relu(grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1), x)


def _cam_over_channels(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge(F.relu((grads.mean(dim=1, keepdim=True) * maps).sum(dim=1)), x)


def _cam_no_mean(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge(F.relu((grads * maps).sum(dim=1)), x)


def _cam_sum(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge(F.relu((grads.sum(dim=(2, 3), keepdim=True) * maps).sum(dim=1)), x)


def _cam_mean_channels(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge(F.relu((grads.mean(dim=(2, 3), keepdim=True) * maps).mean(dim=1)), x)


def _cam_abs(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return _enlarge(F.relu((grads.abs().mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)), x)


def _cam_nearest(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    coarse = F.relu((grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1))
    return _enlarge(coarse, x, mode="nearest")


def _cam_corners(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    coarse = F.relu((grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1))
    return _enlarge(coarse, x, mode="bilinear", align_corners=True)


def _cam_coarse(body, top, x, k):
    maps, grads = _pieces(body, top, x, k)
    return F.relu((grads.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1))


def _cam_all_classes(body, top, x, k):
    return grad_cam(body, lambda maps: top(maps).sum(dim=1, keepdim=True), x, torch.zeros_like(k))


def _cam_largest(body, top, x, k):
    return grad_cam(body, top, x, top(body(x)).argmax(dim=1))


def _run_cam(answer: Callable, kernels: Tensor, weight: Tensor, x: Tensor, k: Tensor) -> Tensor:
    """A body with maps of both signs, and a top whose gradient differs from place to place."""

    def body(x):
        return F.conv2d(x, kernels, stride=3)

    def top(maps):
        return torch.tanh(maps).flatten(1) @ weight.T

    return answer(body, top, x.clone(), k.clone())


def _cam_case(rng: Generator) -> tuple:
    n, c, k = int(rng.integers(2, 4)), int(rng.integers(3, 6)), int(rng.integers(3, 6))
    x = normal(rng, n, 3, 9, 12)  # maps of 3 by 4
    return 0.3 * normal(rng, c, 3, 3, 3), normal(rng, k, c * 12), x, torch.from_numpy(rng.integers(0, k, n))


EXERCISES = [
    Exercise(
        "22.3",
        "Grad-CAM",
        minutes=20,
        difficulty=3,
        reference=grad_cam,
        use=_run_cam,
        cases=[_cam_case],
        misconceptions=[
            Misconception(
                "leaves out the ReLU",
                _cam_no_relu,
                why="Negative places speak for other classes. The map shows what speaks *for* class k.",
                look=LOOK_CAM,
            ),
            Misconception(
                "applies the ReLU after enlarging",
                _cam_late_relu,
                why="Between a positive and a negative place the enlarged map then passes through 0 too early. First "
                "the ReLU on the small map, then enlarge it.",
                look=LOOK_CAM,
            ),
            Misconception(
                "applies the ReLU to each channel before the sum",
                _cam_early_relu,
                why="Channels that speak against the class must be able to cancel others. Sum first.",
                look=LOOK_CAM,
            ),
            Misconception(
                "averages the gradients over the channels",
                _cam_over_channels,
                why="Each channel needs a weight of its own: average over its *places*, dim=(2, 3).",
                look=LOOK_CAM,
            ),
            Misconception(
                "multiplies gradient and activation place by place",
                _cam_no_mean,
                why="That is 'gradient times activation', another method. In Grad-CAM a channel has one weight, the "
                "mean of its gradients, and the places come from the activations alone.",
                look=LOOK_CAM,
            ),
            Misconception(
                "sums the gradients over the places instead of averaging",
                _cam_sum,
                why="The map then grows with the number of places of the layer. The weight is a mean.",
                look=LOOK_CAM,
            ),
            Misconception(
                "averages over the channels where it should sum",
                _cam_mean_channels,
                why="The score is a *sum* over channels; with a mean the places no longer add up to it.",
                look=LOOK_CAM,
            ),
            Misconception(
                "takes the size of the gradients",
                _cam_abs,
                why="A channel with a negative gradient speaks against the class, and must count as such.",
                look=LOOK_CAM,
            ),
            Misconception(
                "enlarges in blocks",
                _cam_nearest,
                why="F.interpolate repeats the nearest value unless told otherwise. Ask for mode='bilinear'.",
                look=LOOK_CAM,
            ),
            Misconception(
                "puts the map's corners on the image's corners",
                _cam_corners,
                why="Each place stands for a block of pixels, and its value belongs in the block's middle: "
                "align_corners=False.",
                look=LOOK_CAM,
            ),
            Misconception(
                "leaves the map small",
                _cam_coarse,
                why="The result must have the image's height and width: enlarge the map at the end.",
                look=LOOK_CAM,
            ),
            Misconception(
                "explains all classes at once",
                _cam_all_classes,
                why="Pick the logit of class k[n] before you differentiate.",
                look=LOOK_CAM,
            ),
            Misconception(
                "explains the largest logit instead of class k",
                _cam_largest,
                why="The caller chooses the class, so that the second choice can be explained too.",
                look=LOOK_CAM,
            ),
        ],
        hints=(
            "Maps; the gradient of the chosen logit with respect to them; one weight for each channel; a weighted sum.",
            "maps = body(x).detach().requires_grad_(); g = torch.autograd.grad(top(maps).gather(1, k[:, None]).sum(), "
            "maps)[0]; alpha = g.mean(dim=(2, 3)).",
            "coarse = F.relu(torch.einsum('nc,nchw->nhw', alpha, maps)); F.interpolate(coarse[:, None], "
            "size=x.shape[2:], mode='bilinear', align_corners=False)[:, 0].",
        ),
        alternatives=[_cam_broadcast],
        names=("kernels", "weight", "x", "k"),
    ),
]
