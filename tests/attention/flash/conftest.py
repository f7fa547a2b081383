import numpy as np
import pytest
import torch
import torch.utils.deterministic


@pytest.fixture
def rng() -> np.random.Generator:
    """New numbers in every run; a failure shows the seed that brings them back."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"numbers from np.random.default_rng({seed})")
    return np.random.default_rng(seed)


@pytest.fixture
def poisoned():
    """torch.empty gives NaN: what a kernel leaves unwritten shows."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all() and torch.zeros(3).new_empty(3, dtype=torch.float16).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
