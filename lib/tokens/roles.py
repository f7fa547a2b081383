"""Which of a tokenizer's special tokens begins a text, which ends it, and so on: what `transformers` calls eos_token.

A tokenizer.json does not say. Published names are known here; where there are other names, they are told:

    roles(tokenizer)                                     {"bos_token": "<s>", "eos_token": "</s>", ...}
    roles(tokenizer, eos_token="<|im_end|>")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.tokens.base import Tokenizer

END = "<|endoftext|>", "<|end|>"
"""What stands between two documents, and so both ends one and begins one, as in GPT-2."""

NAMES = {
    "bos_token": ("<s>", "<bos>", "<|begin_of_text|>", *END),
    "eos_token": ("</s>", "<eos>", "<|end_of_text|>", *END),
    "unk_token": ("<unk>", "[UNK]"),
    "sep_token": ("[SEP]",),
    "pad_token": ("<pad>", "[PAD]"),
    "cls_token": ("[CLS]",),
    "mask_token": ("<mask>", "[MASK]"),
}
"""Role -> the names under which it is published; of several that a tokenizer has, the first counts."""


def roles(tokenizer: Tokenizer, **told: str) -> dict[str, str]:
    """Role -> special token, for the roles that are taken. `told` comes before names.

    Raises ValueError for a role that is none, and for a token that is not among the specials.
    """
    for role, token in told.items():
        if role not in NAMES:
            raise ValueError(f"There is no role {role!r}; there are {', '.join(NAMES)}.")
        if token not in tokenizer.specials:
            raise ValueError(f"{role} is {token!r}, which is not one of the specials {tokenizer.specials}.")
    special = {role: [name for name in names if name in tokenizer.specials] for role, names in NAMES.items()}
    return {role: found[0] for role, found in special.items() if found} | told
