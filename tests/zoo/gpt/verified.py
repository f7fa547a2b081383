"""What is claimed of `lib.zoo.gpt`. Random sizes and numbers, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.family import claims


def config(rng: np.random.Generator) -> dict[str, Any]:
    n_heads, width, n_layers, n_vocab = rng.integers([1, 1, 1, 3], [4, 4, 4, 12]).tolist()
    sizes = {"n_layer": n_layers, "n_head": n_heads, "n_embd": n_heads * width, "vocab_size": n_vocab, "n_positions": 9}
    return sizes | {"layer_norm_epsilon": float(rng.choice([1e-5, 0.1]))}


CLAIMS = claims("gpt", config, ("OpenAIGPTModel", "OpenAIGPTLMHeadModel"), cached=True)
