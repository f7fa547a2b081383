"""Reverse-mode automatic differentiation, twice: one number at a time (`Value`) and one array at a time (`Tensor`)."""

from lib.grad.scalar import Value

__all__ = ["Value"]
