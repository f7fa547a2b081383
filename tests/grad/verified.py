"""What is claimed of `lib.grad`, each with its reference. Shapes and numbers are random, and the same in every run."""

from __future__ import annotations

from functools import partial

from tests.claims import Claim, largest
from tests.grad import parts
from tests.grad.compare import error_to_differences, error_to_torch
from tests.grad.table import TABLE, rngs

TOLERANCE = 1e-9
TORCH = "torch, float64: outputs and gradients"


def claim(name, reference, cases, error) -> Claim:
    return Claim(name, reference, TOLERANCE, partial(largest, cases, error, TOLERANCE))


def claims_of(op: str) -> list[Claim]:
    row = TABLE[op]
    differences = "central differences of sixth order: gradients"
    return [
        claim(f"Tensor: {op}", TORCH, row.cases, partial(error_to_torch, row)),
        claim(f"Tensor: {op}", differences, row.cases, partial(error_to_differences, row)),
    ]


CLAIMS = [
    claim("Value: an expression of every operation", TORCH, rngs, parts.scalar_error),
    *(claim for op in TABLE for claim in claims_of(op)),
    claim("Linear", "torch.nn.Linear: outputs and gradients", rngs, parts.linear_error),
    claim("MLP", "torch.nn.Sequential: outputs and gradients", rngs, parts.mlp_error),
    claim("Embedding", "torch.nn.Embedding: outputs and gradients", rngs, parts.embedding_error),
    claim("LayerNorm", "torch.nn.LayerNorm: outputs and gradients", rngs, parts.layer_norm_error),
    claim("SGD", "torch.optim.SGD: parameters over 50 steps", rngs, parts.sgd_error),
    claim("Adam", "torch.optim.Adam: parameters over 50 steps", rngs, parts.adam_error),
    claim("AdamW", "torch.optim.AdamW: parameters over 50 steps", rngs, parts.adamw_error),
]
