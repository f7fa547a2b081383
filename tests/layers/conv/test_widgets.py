"""The sliding window shows the right numbers, works offline, and is the same in every run."""

import json
import re

import pytest
import torch
import torch.nn.functional as F

from lib.widgets import sliding_window


def numbers_of(html: str) -> dict:
    found = re.search(r"const d = (\{.*?\}), box", html)
    assert found
    return json.loads(found[1])


def test_it_shows_what_torch_computes():
    x, kernel = torch.arange(30).reshape(5, 6) % 7, torch.tensor([[1, -2], [3, 0], [0, 1]])
    html = sliding_window(x, kernel, stride=2, padding=1, dilation=2).data
    numbers = numbers_of(html)
    expected = F.conv2d(x[None, None].float(), kernel[None, None].float(), None, 2, 1, 2)[0, 0]
    assert torch.equal(torch.tensor(numbers["y"]).float(), expected)
    assert f'max="{expected.numel() - 1}"' in html
    assert html.count('class="dim"') == 7 * 8 - 30  # the border of padding


def test_it_needs_no_network_and_does_not_change():
    x, kernel = torch.eye(4, dtype=torch.long), [[1, 0], [0, 1]]
    html = sliding_window(x, kernel).data
    assert "http" not in html and "src=" not in html
    assert html == sliding_window(x.numpy(), kernel).data
    name = re.compile(r'id="(slide-\w+)"')
    assert name.findall(html) != name.findall(sliding_window(x, kernel, stride=2).data)


def test_a_kernel_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="spans 5"):
        sliding_window([[1, 2], [3, 4]], [[1, 1, 1, 1, 1]])
