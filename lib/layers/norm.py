"""Batch normalisation with running statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each channel; x is (N, C) or (N, C, ...).

    In training, mean and variance are the batch's own, over every axis but the channels'; the variance divides by the
    number of values. Two buffers then move towards them by the share `momentum`; the running variance takes the
    batch's divided by one less than the number of values, which estimates the variance of all data without bias. In
    evaluation the two buffers stand in for the batch, so an example's output does not depend on its company.

    Names and defaults are those of torch.nn.BatchNorm1d, 2d and 3d. Without `affine` there is no weight and no bias.
    Raises ValueError for x with other than d channels, and in training for one value a channel, which has no spread to
    divide by.
    Source: S. Ioffe, C. Szegedy (2015), "Batch Normalization", algorithms 1 and 2.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, d: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True):
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: momentum is the share of the new batch, from 0 to 1, got {momentum}")
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(d)) if affine else None
        self.bias = nn.Parameter(torch.zeros(d)) if affine else None
        self.register_buffer("running_mean", torch.zeros(d))
        self.register_buffer("running_var", torch.ones(d))

    def forward(self, x: Tensor) -> Tensor:
        d = len(self.running_mean)
        if x.ndim < 2 or x.shape[1] != d:
            raise ValueError(f"BatchNorm: x must be (N, {d}) or (N, {d}, ...), got the shape {tuple(x.shape)}")
        mean, var = self.batch_statistics(x) if self.training else (self.running_mean, self.running_var)
        each = (1, d) + (1,) * (x.ndim - 2)  # one number a channel, shaped to stand beside x
        y = (x - mean.view(each)) / torch.sqrt(var.view(each) + self.eps)
        if self.weight is None or self.bias is None:
            return y
        return y * self.weight.view(each) + self.bias.view(each)

    def batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's mean and variance (d,), noted in the running ones on the way."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        n = x.numel() // x.shape[1]
        if n < 2:
            raise ValueError(
                f"BatchNorm: training needs more than one value a channel, got the shape {tuple(x.shape)}: "
                "use a larger batch, or `.eval()` to use the running statistics"
            )
        mean, var = x.mean(axes), x.var(axes, correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / (n - 1), self.momentum)
        return mean, var
