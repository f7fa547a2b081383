"""Positions derived a second time, in complex numbers; each `..._error` is the largest difference found."""

from __future__ import annotations

import math

import numpy as np
import torch

from lib.layers.pos import Rotary, Sinusoidal, dynamic, halves, linear, llama3, neighbours, ntk
from tests.claims import difference


def positions(rng: np.random.Generator, B: int, T: int) -> np.ndarray:
    """(T,) for all sequences alike, or (B, T)."""
    return rng.integers(0, 5000, (T,) if rng.integers(2) else (B, T))


def sinusoidal_error(rng: np.random.Generator) -> float:
    """Number by number: even columns sines, odd ones cosines, wavelengths from 2 pi to base 2 pi."""
    B, T, d = *rng.integers(1, 6, 2).tolist(), 2 * int(rng.integers(1, 9))
    at, x, base = positions(rng, B, T), rng.normal(size=(B, T, d)), float(rng.uniform(2, 20000))
    expected = x.copy()
    for j in range(d):
        wavelength = 2 * math.pi * base ** (2 * (j // 2) / d)
        turn = 2 * math.pi * at / wavelength
        expected[..., j] += np.cos(turn) if j % 2 else np.sin(turn)
    y = Sinusoidal(d, base).on_embed(torch.from_numpy(x), torch.from_numpy(at))
    return difference(y.numpy(), expected)


def rotary_error(scale, expected_wavelengths, rng: np.random.Generator) -> float:
    """Each pair as a complex number z, turned to z exp(2 pi i at / wavelength); partial heads, both layouts of pairs.

    expected_wavelengths(wavelengths, base, d, n): what a scaling makes of them, in the words of its paper, where the
    last position is the n-th.
    """
    B, H, T = rng.integers(1, 5, 3).tolist()
    d = 2 * int(rng.integers(2, 9))
    d_head, base = d + int(rng.integers(0, 4)), float(rng.choice([100.0, 10000.0, 500000.0]))
    layout = [halves, neighbours][rng.integers(2)]
    at, x = positions(rng, B, T), rng.normal(size=(B, H, T, d_head))

    wavelengths = np.array([2 * math.pi * base ** (2 * i / d) for i in range(d // 2)])
    wavelengths = expected_wavelengths(wavelengths, base, d, at.max() + 1)
    first, second = (
        (np.arange(d // 2), np.arange(d // 2, d)) if layout is halves else (np.arange(0, d, 2), np.arange(1, d, 2))
    )
    turn = np.exp(2j * math.pi * np.broadcast_to(at, (B, T))[:, None, :, None] / wavelengths)
    z = (x[..., first] + 1j * x[..., second]) * turn
    expected = x.copy()
    expected[..., first], expected[..., second] = z.real, z.imag

    rotary = Rotary(d_head, d, base, layout, scale)
    y = rotary.on_heads(torch.from_numpy(x), torch.from_numpy(at))
    return difference(y.numpy(), expected)


def unscaled(wavelengths, base, d, n):
    return wavelengths


def by_interpolation(wavelengths, base, d, n):
    """Position m is read as m / 8."""
    return wavelengths * 8


def by_ntk(wavelengths, base, d, n):
    """The base is replaced by base 8^(d / (d - 2)); recomputed from the base."""
    return np.array([2 * math.pi * (base * 8 ** (d / (d - 2))) ** (2 * i / d) for i in range(d // 2)])


def by_the_length(wavelengths, base, d, n):
    """Up to 2000 positions nothing; for each further one NTK's factor grows by 8 / 2000, from 1."""
    factor = 1 + 8 / 2000 * max(0, n - 2000)
    return np.array([2 * math.pi * (base * factor ** (d / (d - 2))) ** (2 * i / d) for i in range(d // 2)])


def by_llama3(wavelengths, base, d, n):
    """Three cases for each wave: short ones stay, long ones grow eightfold, and those between are blended."""
    found = []
    for wave in wavelengths:
        if wave < 8192 / 4:
            found.append(wave)
        elif wave > 8192 / 1:
            found.append(8 * wave)
        else:
            smooth = (8192 / wave - 1) / (4 - 1)
            found.append(1 / ((1 - smooth) / (8 * wave) + smooth / wave))
    return np.array(found)


SCALINGS = {
    "Rotary": (None, unscaled),
    "Rotary, linear": (linear(8.0), by_interpolation),
    "Rotary, NTK": (ntk(8.0), by_ntk),
    "Rotary, dynamic NTK": (dynamic(8.0, 2000), by_the_length),
    "Rotary, Llama 3": (llama3(), by_llama3),
}
