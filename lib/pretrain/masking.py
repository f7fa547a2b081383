"""Hide some of the tokens of a text: BERT's task is to say what stood there.

    x, y = mask_tokens(ids, special=special, mask_id=4, n_vocab=8000, generator=rng)
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=IGNORE)

Call it anew for every batch. Then the same sentence has other gaps each time it is seen: Y. Liu et al. (2019),
"RoBERTa", section 4.1, calls this dynamic masking.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.shapes import BT, require

IGNORE = -100
"""In place of a target where nothing is asked: torch's `cross_entropy` leaves this value out unless told otherwise."""


def mask_tokens(
    ids: BT,
    *,
    special: BT,
    mask_id: int,
    n_vocab: int,
    p: float = 0.15,
    p_mask: float = 0.8,
    p_random: float = 0.1,
    generator: torch.Generator | None = None,
    words: BT | None = None,
) -> tuple[BT, BT]:
    """What the model reads, x (B, T), and what it shall answer, y (B, T): the id where one was chosen, else IGNORE.

    Each token is chosen with probability p. Of the chosen ones the share p_mask becomes mask_id, the share p_random any
    id of the vocabulary, and the rest stays as it is: were all of them masked, the model would never be asked about a
    token it can see, and would learn nothing that is of use on text without masks.

    special: bool (B, T), True where nothing is ever chosen: [CLS], [SEP] and padding.
    words: (B, T), the number of each token's word, as `word_numbers` gives it. The tokens of a word are then chosen
    together or not at all; what is done to each is still drawn for it alone.

    ValueError for shapes that differ, and for shares that are none. J. Devlin et al. (2018), "BERT", section 3.1 and
    appendix A.1; whole words as in the authors' published code.
    """
    _check(ids, special, mask_id, n_vocab, {"p": p, "p_mask": p_mask, "p_random": p_random})

    def draw() -> Tensor:
        return torch.rand(ids.shape, generator=generator, device=ids.device)  # B T, from 0 to 1

    chance = draw()
    if words is not None:
        fits = words.shape == ids.shape and 0 <= int(words.min()) and int(words.max()) <= ids.shape[1]
        require(fits, "words is the number of each id's word, from 0 to T, in the shape of ids: see word_numbers")
        chance = torch.cat([chance, draw()[:, :1]], dim=1).gather(1, words)  # the draw of the word's number
    chosen = (chance < p) & ~special
    fate = draw()
    x = ids.masked_fill(chosen & (fate < p_mask), mask_id)
    other = torch.randint(n_vocab, ids.shape, generator=generator, device=ids.device)
    x = torch.where(chosen & (p_mask <= fate) & (fate < p_mask + p_random), other, x)
    return x, ids.masked_fill(~chosen, IGNORE)


def continuations(pieces: Sequence[str], prefix: str = "##") -> Tensor:
    """bool (V,): which pieces of a WordPiece vocabulary, `tokenizer.pieces`, go on with a word."""
    return torch.tensor([piece.startswith(prefix) for piece in pieces])


def word_numbers(ids: BT, continues: Tensor) -> BT:
    """The number of the word that each token belongs to, counted in its row: ("play", "##ing", "he") -> (1, 1, 2).

    continues: what `continuations` returned. 0 is for pieces whose word began before the row.
    """
    known = ids.dim() == 2 and ids.numel() > 0 and 0 <= int(ids.min()) and int(ids.max()) < len(continues)
    require(known, f"ids must be (B, T), from 0 to {len(continues) - 1}, as the vocabulary has {len(continues)} pieces")
    return (~continues.to(ids.device)[ids]).cumsum(dim=1)  # B T


def _check(ids: BT, special: BT, mask_id: int, n_vocab: int, shares: dict[str, float]) -> None:
    whole = ids.dim() == 2 and not ids.is_floating_point() and ids.dtype != torch.bool
    require(whole, f"ids must be whole numbers (B, T), not {ids.dtype} of shape {tuple(ids.shape)}")
    fits = special.dtype == torch.bool and special.shape == ids.shape
    require(
        fits,
        f"special must be bool in the shape of ids, {tuple(ids.shape)}: True at [CLS], [SEP] and padding; "
        f"it is {special.dtype} of shape {tuple(special.shape)}",
    )
    require(0 <= mask_id < n_vocab, f"mask_id={mask_id} is not in a vocabulary of n_vocab={n_vocab}")
    for name, share in shares.items():
        require(0 <= share <= 1, f"{name} is a share from 0 to 1, not {share}")
    total = shares["p_mask"] + shares["p_random"]
    require(total <= 1 + 1e-9, f"p_mask and p_random are shares of the chosen tokens: together at most 1, not {total}")
