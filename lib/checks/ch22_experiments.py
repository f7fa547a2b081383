"""Checks of 22_seeing_inside on two experiments: covering parts of the image, and neighbours among features."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception
from lib.checks.ch22_inside import normal

LOOK_COVER = "Section 9 of 22_seeing_inside, 'Occlusion: ask by experiment'"
LOOK_NEAR = "Section 11 of 22_seeing_inside, 'Near in features'"


# 22.4 -----------------------------------------------------------------------------------------------------------------


def occlusion(score, image, size, stride, fill):
    before = score(image[None])[0]
    drops = []
    for i in range(0, image.shape[1] - size + 1, stride):
        row = []
        for j in range(0, image.shape[2] - size + 1, stride):
            covered = image.clone()
            covered[:, i : i + size, j : j + size] = fill[:, None, None]
            row.append(before - score(covered[None])[0])
        drops.append(torch.stack(row))
    return torch.stack(drops)


def _occlude(score, image, size, stride, fill, drop: Callable = lambda before, after: before - after, fresh=True):
    rows, columns = (range(0, length - size + 1, stride) for length in image.shape[1:])
    copies, covered = [], image.clone()
    for i in rows:
        for j in columns:
            covered = image.clone() if fresh else covered
            covered[:, i : i + size, j : j + size] = fill[:, None, None]
            copies.append(covered.clone())
    return drop(score(image[None]), score(torch.stack(copies))).reshape(len(rows), len(columns))


def _cover_batch(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill)


def _cover_sign(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill, lambda before, after: after - before)


def _cover_abs(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill, lambda before, after: (before - after).abs())


def _cover_score(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill, lambda before, after: after)


def _cover_positive(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill, lambda before, after: (before - after).clamp(min=0))


def _cover_piles_up(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill, fresh=False)


def _cover_black(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, torch.zeros_like(fill))


def _cover_transposed(score, image, size, stride, fill):
    return _occlude(score, image, size, stride, fill).T


def _cover_short(score, image, size, stride, fill):
    rows, columns = (len(range(0, length - size, stride)) for length in image.shape[1:])
    return _occlude(score, image, size, stride, fill)[:rows, :columns]


def _cover_tiles(score, image, size, stride, fill):
    return _occlude(score, image, size, size, fill)


def _cover_every_pixel(score, image, size, stride, fill):
    return _occlude(score, image, size, 1, fill)


def _run_cover(answer: Callable, weight: Tensor, image: Tensor, size: int, stride: int, fill: Tensor) -> Tensor:
    def score(x):
        return torch.tanh(x * weight).flatten(1).sum(dim=1)

    return answer(score, image, size, stride, fill)


def _cover_case(rng: Generator) -> tuple:
    size, stride, (rows, columns) = int(rng.integers(2, 4)), int(rng.integers(1, 3)), rng.permutation([3, 4])
    height, width = (int(size + (n - 1) * stride) for n in (rows, columns))  # the last patch touches the border
    image = torch.from_numpy(rng.uniform(0, 1, (3, height, width + int(rng.integers(stride)))))
    return 2 * normal(rng, *image.shape), image, size, stride, torch.from_numpy(rng.uniform(0.3, 0.7, 3))


# 22.5 -----------------------------------------------------------------------------------------------------------------


def nearest_others(rows, n):
    unit = rows / rows.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-2)
    return cosines.topk(n, dim=1).indices


def _nearest_loop(rows, n):
    found = []
    for i, row in enumerate(rows):
        cosines = F.cosine_similarity(row[None], rows, dim=1)
        order = [int(j) for j in cosines.argsort(descending=True) if j != i]
        found.append(order[:n])
    return torch.tensor(found)


def _nearest_itself(rows, n):
    unit = rows / rows.norm(dim=1, keepdim=True)
    return (unit @ unit.T).topk(n, dim=1).indices


def _nearest_drops_first(rows, n):
    return _nearest_itself(rows, n + 1)[:, 1:]


def _nearest_products(rows, n):
    products = rows @ rows.T
    return products.fill_diagonal_(-torch.inf).topk(n, dim=1).indices


def _nearest_distance(rows, n):
    return torch.cdist(rows, rows).fill_diagonal_(torch.inf).topk(n, dim=1, largest=False).indices


def _nearest_farthest(rows, n):
    unit = rows / rows.norm(dim=1, keepdim=True)
    return (unit @ unit.T).fill_diagonal_(2).topk(n, dim=1, largest=False).indices


def _nearest_columns(rows, n):
    unit = rows / rows.norm(dim=0, keepdim=True)
    return (unit @ unit.T).fill_diagonal_(-torch.inf).topk(n, dim=1).indices


def _nearest_axis(rows, n):
    unit = rows / rows.norm(dim=1, keepdim=True)
    return (unit @ unit.T).fill_diagonal_(-2).topk(n, dim=0).indices


def _rows_case(rng: Generator) -> tuple:
    n, d = int(rng.integers(8, 14)), int(rng.integers(3, 7))
    return normal(rng, n, d) * torch.from_numpy(10 ** rng.uniform(-0.7, 0.7, (n, 1))), int(rng.integers(2, 5))


_HALF = torch.full((3,), 0.5, dtype=torch.float64)
_RAMP = torch.linspace(0, 1, 3 * 4 * 6, dtype=torch.float64).reshape(3, 4, 6)
_TWINS = torch.tensor([[1.0, 2.0, 0.5], [2.0, 4.0, 1.0], [-1.0, 0.3, 2.0], [-0.8, 0.1, 1.5]], dtype=torch.float64)
"""Row 1 is twice row 0: their cosine is 1, as each one's with itself."""

_OPPOSITE = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
"""Rows 0 and 1 have the cosine -1, the smallest there is."""

EXERCISES = [
    Exercise(
        "22.4",
        "Cover a part",
        minutes=15,
        difficulty=2,
        reference=occlusion,
        use=_run_cover,
        cases=[_cover_case, Case("one patch fits across", _RAMP - 0.4, _RAMP, 4, 1, _HALF)],
        misconceptions=[
            Misconception(
                "has the sign the wrong way round",
                _cover_sign,
                why="The map is the *fall*: the score before, minus the score after. Positive means that the part "
                "spoke for the class.",
                look=LOOK_COVER,
            ),
            Misconception(
                "takes the size of the change",
                _cover_abs,
                why="A part that speaks against the class makes the score rise when it is covered. That is a "
                "negative fall, and must be told apart.",
                look=LOOK_COVER,
            ),
            Misconception(
                "returns the score of the covered image",
                _cover_score,
                why="Where the score is low, the part mattered: the map would be dark where it should be bright. "
                "Subtract it from the score before.",
                look=LOOK_COVER,
            ),
            Misconception(
                "cuts off the negative falls",
                _cover_positive,
                why="That is for the drawing. Parts that disturb are a finding.",
                look=LOOK_COVER,
            ),
            Misconception(
                "lets the patches pile up",
                _cover_piles_up,
                why="Each place is asked on its own. Without a new `image.clone()` for each place, the last one is "
                "scored with everything covered.",
                look=LOOK_COVER,
            ),
            Misconception(
                "covers with black",
                _cover_black,
                why="Black is a strong statement for a network that has seen night and shadows. The patch has the "
                "colour `fill`.",
                look=LOOK_COVER,
            ),
            Misconception(
                "swaps rows and columns",
                _cover_transposed,
                why="Row i of the map belongs to patches that start in image row i times stride.",
                look=LOOK_COVER,
            ),
            Misconception(
                "misses the patches at the lower and right border",
                _cover_short,
                why="The last start is height minus size, and range() stops before its end: add 1.",
                look=LOOK_COVER,
            ),
            Misconception(
                "moves the patch by its own size",
                _cover_tiles,
                why="The patch moves by `stride` pixels; patches may overlap.",
                look=LOOK_COVER,
            ),
            Misconception(
                "moves the patch pixel by pixel",
                _cover_every_pixel,
                why="The patch moves by `stride` pixels.",
                look=LOOK_COVER,
            ),
        ],
        hints=(
            "Two loops over the places of the patch's corner. What must be new in each turn?",
            "for i in range(0, height - size + 1, stride), and so for j; covered = image.clone(); "
            "fill[:, None, None] fits a patch of three colours.",
            "row.append(score(image[None])[0] - score(covered[None])[0]); then torch.stack the rows.",
        ),
        alternatives=[_cover_batch],
        names=("weight", "image", "size", "stride", "fill"),
    ),
    Exercise(
        "22.5",
        "Nearest others",
        minutes=12,
        difficulty=2,
        reference=nearest_others,
        cases=[_rows_case, Case("a row and its double", _TWINS, 1), Case("an opposite row", _OPPOSITE, 2)],
        misconceptions=[
            Misconception(
                "counts each row as its own neighbour",
                _nearest_itself,
                why="Every row has the cosine 1 with itself. Each would find itself first, and a score built on that "
                "is perfect and empty.",
                look=LOOK_NEAR,
            ),
            Misconception(
                "drops the first hit, taking it for the row itself",
                _nearest_drops_first,
                why="Where another row has the same direction, the first hit may be that one. Exclude the row by its "
                "place: fill the diagonal with something below every cosine.",
                look=LOOK_NEAR,
            ),
            Misconception(
                "compares products without dividing by the lengths",
                _nearest_products,
                why="A long row then is everybody's neighbour. Divide each row by its length first.",
                look=LOOK_NEAR,
            ),
            Misconception(
                "compares distances without dividing by the lengths",
                _nearest_distance,
                why="Two rows of the same direction and different length would be far apart. The cosine compares "
                "directions alone.",
                look=LOOK_NEAR,
            ),
            Misconception(
                "finds the farthest rows",
                _nearest_farthest,
                why="A cosine is a likeness and not a distance: the nearest has the *largest*.",
                look=LOOK_NEAR,
            ),
            Misconception(
                "divides each column by its length",
                _nearest_columns,
                why="Rows are the things to compare. The length of a row is a norm over dim=1.",
                look=LOOK_NEAR,
            ),
            Misconception(
                "picks the best along the wrong axis",
                _nearest_axis,
                why="Row i of the table holds the cosines of row i. Look along dim=1, so that the result has one row "
                "for each row.",
                look=LOOK_NEAR,
            ),
        ],
        hints=(
            "Make all rows equally long, multiply all with all, and rule out each row with itself.",
            "unit = rows / rows.norm(dim=1, keepdim=True); the cosines are unit @ unit.T, (N, N).",
            "cosines.fill_diagonal_(-2), below every cosine; return cosines.topk(n, dim=1).indices.",
        ),
        alternatives=[_nearest_loop],
        names=("rows", "n"),
    ),
]
