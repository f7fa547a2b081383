"""What happens when a loss or a gradient is not a finite number: the run stops and says where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lib.train.task import Batch


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient is NaN or infinite. The parameters are those from before the step."""

    def __init__(self, text: str, step: int, indices: Sequence[int], module: str, checkpoint: str) -> None:
        super().__init__(text)
        self.step = step
        """The step, counted from 1, that was not made."""
        self.indices = list(indices)
        """The numbers of the examples whose loss is not finite, as `Examples.batch` was asked for them."""
        self.module = module
        """The first module whose output was not finite; "" where there is none."""
        self.checkpoint = checkpoint
        """The last checkpoint; "" where there is none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.step, self.indices, self.module, self.checkpoint)


def finite(value: Any) -> bool:
    """Whether every number is finite in a tensor, or in the tensors of a tuple, list or dict."""
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex()) or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(map(finite, value.values()))
    if isinstance(value, (tuple, list)):
        return all(map(finite, value))
    return True


def explain(model: nn.Module, batch: Batch, forward: Callable[[], Tensor]) -> tuple[bool, str, str]:
    """Run the forward pass of a batch again and look: (whether its loss is finite, the first bad module, a sentence).

    Modules report when they are done, so the innermost comes first. Compiled code runs uncompiled here.
    """
    found: list[str] = []
    with watched(model, found), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        fine = finite(forward())
    if fine:
        return True, "", ""
    if not finite(batch):
        return False, found[0] if found else "", "The batch itself holds values that are not finite."
    bad = [name for name, parameter in model.named_parameters() if not finite(_here(parameter.detach()))]
    if bad:
        return False, found[0] if found else "", f"These parameters are not finite: {', '.join(bad[:5])}."
    if not found:
        return False, "", "Every module's output was finite: look at the loss itself, at log(0) or a division by 0."
    return False, found[0], f"The first module whose output was not finite: {found[0]}."


def _here(tensor: Any) -> Tensor:
    """The shard of this process, where it is one: the processes do not all come here, so none may ask the others."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


@contextmanager
def watched(model: nn.Module, found: list[str]) -> Iterator[None]:
    """Collect the names of the modules whose outputs are not finite, in the order in which they finish."""

    def report(name: str, kind: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not finite(output):
                found.append(f"{name} ({kind})" if name else kind)

        return hook

    handles = [
        module.register_forward_hook(report(name, type(module).__name__)) for name, module in model.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
