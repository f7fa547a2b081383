"""Checks of 43_mini_gpt on windows and targets, and on the cut between training and held text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.random import Generator
from torch import Tensor

from lib.checks import Case, Exercise, Misconception

LESSON = "of 43_mini_gpt"

# 43.1 ----------------------------------------------------------------------------------------------------------------


def windows(ids: Tensor, n_context: int, starts: Sequence[int]) -> tuple[Tensor, Tensor]:
    at = torch.tensor(starts)[:, None] + torch.arange(n_context)
    return ids[at], ids[at + 1]


def _windows_by_slices(ids, n_context, starts):
    x = torch.stack([ids[s : s + n_context] for s in starts])
    y = torch.stack([ids[s + 1 : s + 1 + n_context] for s in starts])
    return x, y


def _not_shifted(ids, n_context, starts):
    x, _ = windows(ids, n_context, starts)
    return x, x.clone()


def _shifted_back(ids, n_context, starts):
    x, y = windows(ids, n_context, starts)
    return y, x


def _before(ids, n_context, starts):
    at = torch.tensor(starts)[:, None] + torch.arange(n_context)
    return ids[at], ids[at - 1]


def _two_ahead(ids, n_context, starts):
    at = torch.tensor(starts)[:, None] + torch.arange(n_context)
    return ids[at], ids[at + 2]


def _rolled(ids, n_context, starts):
    x, _ = windows(ids, n_context, starts)
    return x, x.roll(-1, dims=1)


def _last_alone(ids, n_context, starts):
    x, y = windows(ids, n_context, starts)
    return x, y[:, -1]


def _one_short(ids, n_context, starts):
    x, _ = windows(ids, n_context, starts)
    return x[:, :-1], x[:, 1:]


def _next_window(ids, n_context, starts):
    at = torch.tensor(starts)[:, None] + torch.arange(n_context)
    return ids[at], ids[at + n_context]


def _windows_case(rng: Generator) -> tuple:
    T = int(rng.integers(2, 6))
    ids = torch.from_numpy(rng.permutation(40))  # all different, so that no shift can hide
    return ids, T, [int(s) for s in rng.integers(1, 40 - 2 * T, 3)]


# 43.2 ----------------------------------------------------------------------------------------------------------------


def starts(n: int, n_held: int, n_context: int) -> tuple[list[int], list[int]]:
    cut = n - n_held
    return list(range(cut - n_context)), list(range(cut, n - n_context, n_context))


def _starts_by_conditions(n, n_held, n_context):
    train = [s for s in range(n) if s + n_context < n - n_held]
    held = [s for s in range(n - n_held, n) if (s - (n - n_held)) % n_context == 0 and s + n_context < n]
    return train, held


def _crossing(n, n_held, n_context):
    return list(range(n - n_held)), starts(n, n_held, n_context)[1]


def _target_crosses(n, n_held, n_context):
    return list(range(n - n_held - n_context + 1)), starts(n, n_held, n_context)[1]


def _one_window_lost(n, n_held, n_context):
    return list(range(n - n_held - n_context - 1)), starts(n, n_held, n_context)[1]


def _held_overlap(n, n_held, n_context):
    return starts(n, n_held, n_context)[0], list(range(n - n_held, n - n_context))


def _held_runs_out(n, n_held, n_context):
    return starts(n, n_held, n_context)[0], list(range(n - n_held, n, n_context))


def _held_has_no_target(n, n_held, n_context):
    return starts(n, n_held, n_context)[0], list(range(n - n_held, n - n_context + 1, n_context))


def _training_does_not_overlap(n, n_held, n_context):
    return list(range(0, n - n_held - n_context, n_context)), starts(n, n_held, n_context)[1]


def _held_in_front(n, n_held, n_context):
    return list(range(n_held, n - n_context)), list(range(0, n_held - n_context, n_context))


def _counted_from_the_cut(n, n_held, n_context):
    return starts(n, n_held, n_context)[0], list(range(0, n_held - n_context, n_context))


def _starts_case(rng: Generator) -> tuple:
    T = int(rng.integers(2, 6))
    n_held = T * int(rng.integers(2, 5)) + int(rng.integers(0, 2))
    return n_held + int(rng.integers(3 * T, 50)), n_held, T


EXERCISES = [
    Exercise(
        "43.1",
        "Windows and targets",
        minutes=10,
        difficulty=1,
        reference=windows,
        cases=[_windows_case, Case("the last window there is", torch.arange(10, 20), 4, [1, 5])],
        misconceptions=[
            Misconception(
                "does not shift the targets",
                _not_shifted,
                why="Each place would be asked for the character that it can see. The loss falls to 0, and the model "
                "has learned to copy.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "swaps inputs and targets",
                _shifted_back,
                why="The target of a place comes *after* its input: y is x moved by one to the future.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "shifts the targets the wrong way",
                _before,
                why="The character before is one that the model has read already. Asked for is the one that follows.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "shifts the targets by two",
                _two_ahead,
                why="Then nobody is asked for the next character, and writing needs exactly that.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "takes the window's first character as its last target",
                _rolled,
                why="`roll` puts what falls off at one end back at the other. The last target stands behind the "
                "window, in the text.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "asks for one character a window",
                _last_alone,
                why="Each place has a question of its own: T targets for T inputs. With one, most of the work of a "
                "step is thrown away.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "loses a place of each window",
                _one_short,
                why="A window of n_context inputs needs n_context + 1 characters of the text.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "takes the next window for a target",
                _next_window,
                why="The target of a place is the very next character, not the one n_context later.",
                look=f"Section 2 {LESSON}",
            ),
        ],
        hints=(
            "Write down the window of length 3 that begins at 5: which places are inputs, which are targets?",
            "A column of starts plus a row 0 ... n_context - 1 gives all places of all windows at once.",
            "at = torch.tensor(starts)[:, None] + torch.arange(n_context); the targets stand at at + 1.",
        ),
        alternatives=[_windows_by_slices],
        names=("ids", "n_context", "starts"),
    ),
    Exercise(
        "43.2",
        "Where windows may start",
        minutes=12,
        difficulty=2,
        reference=starts,
        cases=[
            _starts_case,
            Case("the held text is one window too short", 30, 4, 4),
            Case("it is long enough", 30, 5, 4),
        ],
        misconceptions=[
            Misconception(
                "lets training windows cross the cut",
                _crossing,
                why="A window is n_context inputs and one more character. All of it must lie before the cut.",
                look=f"Section 1 {LESSON}, 'Where to cut'",
            ),
            Misconception(
                "lets the last training target lie behind the cut",
                _target_crosses,
                why="The inputs end before the cut, but the last target is the first held character.",
                look=f"Section 1 {LESSON}, 'Where to cut'",
            ),
            Misconception(
                "loses the last training window",
                _one_window_lost,
                why="The last target may be the last training character itself.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "lets the held windows overlap",
                _held_overlap,
                why="Then most characters are scored many times, and those at the ends seldom. Each is to count once.",
                look=f"Section 5 {LESSON}",
            ),
            Misconception(
                "lets held windows run beyond the end of the text",
                _held_runs_out,
                why="Asked for are full windows: inputs and last target lie in the text.",
                look=f"Section 5 {LESSON}",
            ),
            Misconception(
                "keeps a held window that has no last target",
                _held_has_no_target,
                why="A window needs one character behind its inputs.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "trains on windows that do not overlap",
                _training_does_not_overlap,
                why="In training every stretch of the text is a window: the same character is then seen behind many "
                "different beginnings.",
                look=f"Section 2 {LESSON}",
            ),
            Misconception(
                "holds out the beginning of the text",
                _held_in_front,
                why="Held out is the end: the model is judged on what comes after the text that it learned from.",
                look=f"Section 1 {LESSON}, 'Where to cut'",
            ),
            Misconception(
                "counts the held windows from the cut",
                _counted_from_the_cut,
                why="Starts are places in the whole text. The first held window starts at the cut, n - n_held.",
                look=f"Section 1 {LESSON}, 'Where to cut'",
            ),
        ],
        hints=(
            "Let the cut be c. Which is the last place that the last training window touches, as a target?",
            "A window that starts at s has its last target at s + n_context.",
            "cut = n - n_held; list(range(cut - n_context)) for training; the held starts go in steps of n_context.",
        ),
        alternatives=[_starts_by_conditions],
        names=("n", "n_held", "n_context"),
    ),
]
