"""The residual network computes what it says, takes images of any size, and refuses sizes that do not go together."""

import pytest
import torch

from lib.zoo.resnet import Block, ResNet
from tests.zoo.resnet.verified import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_claim(claim):
    assert claim.measure() <= claim.tolerance


def test_resnet_20_of_the_paper_has_its_layers_and_nearly_its_size():
    """Table 6 of the paper says 0.27 million, without weights in the shortcuts (its option A)."""
    model = ResNet(widths=(16, 32, 64), depths=(3, 3, 3))
    weighted = [m for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    counted = sum(p.numel() for name, p in model.named_parameters() if "shortcut" not in name)
    assert len(weighted) - 2 == 20  # two shortcuts change the shape
    assert counted == pytest.approx(0.27e6, rel=0.02)


def test_any_image_size_will_do():
    model = ResNet(widths=(4, 8), depths=(1, 1)).eval()
    for size in (8, 13, 32):
        assert model(torch.zeros(2, 3, size, size + 3)).shape == (2, 10)


def test_first_activations_keep_their_size():
    """Without norms, the initial weights alone keep the mean square of what passes a convolution and a ReLU."""
    torch.manual_seed(0)
    x = torch.randn(16, 64, 16, 16)
    block = Block(64, 64, norm=lambda d: torch.nn.Identity())
    y = torch.relu(block.conv1(x)).detach()
    assert y.square().mean().item() == pytest.approx(1.0, abs=0.15)


def test_a_network_with_one_layer_too_few_is_refused():
    with pytest.raises(ValueError, match="one number for each stage"):
        ResNet(widths=(16, 32), depths=(1, 1, 1))
    with pytest.raises(ValueError, match="one number for each stage"):
        ResNet(widths=(), depths=())
