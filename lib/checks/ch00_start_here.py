"""Checks of chapter 00: four small functions in NumPy, to feel how checks and hints work."""

from __future__ import annotations

import numpy as np

from lib.checks import Case, Exercise, Misconception

# 00.1 -------------------------------------------------------------------------------------------

DOUBLE = Exercise(
    "00.1",
    "Twice as much",
    minutes=3,
    difficulty=1,
    reference=lambda x: 2 * x,
    cases=[
        lambda rng: (rng.normal(size=int(rng.integers(2, 6))),),
        Case("a table of numbers", np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])),
        Case("one number in an array", np.array([7.0])),
    ],
    misconceptions=[
        Misconception(
            "squares the numbers",
            lambda x: x**2,
            why="In Python ** is a power: 3 ** 2 is 9. Times is one star: 3 * 2 is 6.",
            look="section 3 of 00_start_here",
        ),
        Misconception(
            "adds 2 instead of multiplying by 2",
            lambda x: x + 2,
            why="2 and 2 make 4 either way, but twice 3 is 6, not 5.",
            look="section 3 of 00_start_here",
        ),
        Misconception(
            "puts the array behind itself, as + or * does with Python lists",
            lambda x: np.concatenate([x, x]),
            why="[1, 2] * 2 is [1, 2, 1, 2] for a list. For a NumPy array, x * 2 doubles every number.",
            look="section 3 of 00_start_here, 'Arrays are not lists'",
        ),
    ],
    hints=(
        "What should [1, 2, 3] become?",
        "NumPy multiplies every number of an array at once; no loop is needed.",
        "return 2 * x",
    ),
    alternatives=[lambda x: x + x],
    names=("x",),
)


# 00.2 -------------------------------------------------------------------------------------------

ACCURACY = Exercise(
    "00.2",
    "How many are right?",
    minutes=5,
    difficulty=1,
    reference=lambda answers, labels: float((answers == labels).mean()),
    cases=[
        lambda rng: (rng.integers(0, 3, 12), rng.integers(0, 3, 12)),
        Case("two of five right", np.array([1, 2, 3, 4, 5]), np.array([1, 2, 0, 0, 0])),
        Case("all right", np.array([1, 0, 1]), np.array([1, 0, 1])),
        Case("none right", np.array([1, 0, 1, 1]), np.array([0, 1, 0, 0])),
    ],
    misconceptions=[
        Misconception(
            "counts the right answers instead of taking their share",
            lambda answers, labels: int((answers == labels).sum()),
            why=(
                "Accuracy is a share between 0 and 1: the count divided by how many there are. Only then can "
                "you compare data sets of different sizes."
            ),
            look="the text of exercise 00.2",
        ),
        Misconception(
            "gives the share of wrong answers",
            lambda answers, labels: float((answers != labels).mean()),
            why="That is the error rate, which is 1 minus the accuracy.",
            look="the text of exercise 00.2",
        ),
        Misconception(
            "gives a percentage",
            lambda answers, labels: float(100 * (answers == labels).mean()),
            why="85% is written 0.85 here, so that it can be used as a probability later.",
            look="the text of exercise 00.2",
        ),
    ],
    hints=(
        "What does answers == labels give, for two arrays of the same length?",
        "True counts as 1 and False as 0 when NumPy adds them up.",
        "The mean of the array answers == labels is the share of True.",
    ),
    alternatives=[lambda answers, labels: sum(a == b for a, b in zip(answers, labels, strict=True)) / len(labels)],
    names=("answers", "labels"),
)


# 00.3 -------------------------------------------------------------------------------------------


def _standardise(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def _table(rng):
    n, d = int(rng.integers(4, 9)), int(rng.integers(2, 4))
    return (rng.normal(size=(n, d)) * rng.uniform(1, 5, d) + rng.normal(size=d) * 3,)


STANDARDISE = Exercise(
    "00.3",
    "Columns on the same scale",
    minutes=8,
    difficulty=2,
    reference=_standardise,
    cases=[
        _table,
        Case("heights in cm and weights in kg", np.array([[170.0, 60.0], [180.0, 90.0], [160.0, 75.0], [190.0, 71.0]])),
    ],
    misconceptions=[
        Misconception(
            "uses one mean and one spread for the whole table",
            lambda X: (X - X.mean()) / X.std(),
            why="Centimetres and kilograms must not be mixed. Each column has its own mean and its own spread.",
            look="section 3 of 00_start_here, 'Which axis?'",
        ),
        Misconception(
            "works along the rows instead of down the columns",
            lambda X: (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True),
            why=(
                "A row is one person, a column one measurement. axis=0 goes down the rows and leaves one number"
                " for each column."
            ),
            look="section 3 of 00_start_here, 'Which axis?'",
        ),
        Misconception(
            "subtracts the mean and does not divide by the spread",
            lambda X: X - X.mean(axis=0),
            why="The columns are now centred, but still on different scales.",
            look="the formula of exercise 00.3",
        ),
        Misconception(
            "divides by the variance",
            lambda X: (X - X.mean(axis=0)) / X.var(axis=0),
            why="The variance is the square of the standard deviation. Divide by X.std, which has the units of X.",
            look="the formula of exercise 00.3",
        ),
        Misconception(
            "divides before it subtracts",
            lambda X: X / X.std(axis=0) - X.mean(axis=0),
            why=(
                "The mean is measured in the old units, so it has to be subtracted before the units change. "
                "Mind the brackets."
            ),
            look="the formula of exercise 00.3",
        ),
        Misconception(
            "uses the standard deviation with n - 1",
            lambda X: (X - X.mean(axis=0)) / X.std(axis=0, ddof=1),
            why=(
                "Statistics books divide by n - 1 to estimate a spread from a sample. Here, as in all of deep "
                "learning's normalisation, divide by n: X.std's own default."
            ),
            look="the formula of exercise 00.3",
        ),
    ],
    hints=(
        "How many means does a table with three columns have?",
        "X.mean(axis=0) gives one mean for each column, and NumPy subtracts it from every row.",
        "(X - X.mean(axis=0)) / X.std(axis=0)",
    ),
    alternatives=[lambda X: np.column_stack([(c - c.mean()) / c.std() for c in X.T])],
    names=("X",),
)


# 00.4 -------------------------------------------------------------------------------------------


def _as_rows(images):
    return images.reshape(len(images), -1)


PIXELS = Exercise(
    "00.4",
    "Pictures as rows",
    minutes=8,
    difficulty=2,
    reference=_as_rows,
    cases=[
        lambda rng: (
            rng.integers(0, 256, (int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(5, 7)))),
        ),
        Case("one picture", np.arange(6).reshape(1, 2, 3)),
        Case("pictures of one row", np.arange(12).reshape(4, 1, 3)),
    ],
    misconceptions=[
        Misconception(
            "lays all pictures end to end",
            lambda images: images.reshape(-1),
            why="Then nobody knows where one picture ends. The first axis, one row for each picture, has to stay.",
            look="the text of exercise 00.4",
        ),
        Misconception(
            "makes each picture a column",
            lambda images: images.reshape(len(images), -1).T,
            why="In this course the first axis counts the examples: one row for each picture.",
            look="the text of exercise 00.4",
        ),
        Misconception(
            "mixes pixels of different pictures",
            lambda images: images.reshape(-1, len(images)).T,
            why=(
                "The shape is right, but each row holds pixels from several pictures. reshape reads the numbers"
                " in order, so the first size must be the number of pictures."
            ),
            look="section 3 of 00_start_here, 'Shapes'",
        ),
        Misconception(
            "reads each picture column by column",
            lambda images: images.transpose(0, 2, 1).reshape(len(images), -1),
            why="The pixels of a picture's first row come first, then those of its second row.",
            look="the text of exercise 00.4",
        ),
    ],
    hints=(
        "n pictures of 28 rows and 28 columns: what shape must come out?",
        "reshape can work out one size by itself if you write -1 for it.",
        "images.reshape(len(images), -1)",
    ),
    alternatives=[lambda images: np.array([image.flatten() for image in images])],
    names=("images",),
)

EXERCISES = [DOUBLE, ACCURACY, STANDARDISE, PIXELS]
