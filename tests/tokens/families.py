"""tokenizer.json as published for each family, around small vocabularies: settings are theirs, pieces are learnt here.

Settings are those of the files of gpt2, roberta-base, bert-base-uncased and -cased (distilbert's are the same),
SmolLM2-135M, Llama 3, Llama 2 (older and newer form), and t5-small. T5's real table of characters has 240 kB; this one,
with 16 entries, was made by SentencePiece 0.2.3 from rules of ours (its `normalization_rule_tsv`).
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer as Rust
from tokenizers import models, normalizers, pre_tokenizers, trainers

from lib.tokens.unigram import Unigram
from tests.tokens.corpus import TRAINING
from tests.tokens.twins import model_of, rust_bpe, rust_wordpiece

CHARSMAP = (
    "AAQAAAAYAAAHDQAAAAAAgAEAAIDMAAIAgQkAAKAVAAAZAACADQAAgAkAAICEtAIAAwAAgKsFAAAWAACAgFACAAkxAACgCQAAi00AAAcAAICAFA"
    "IAsnEAAI9dAACAVQAAEwAAgIE9AAC6DQAAHAAAgL1JAAChBQAADwAAgIL9AACRvAIArOQCABEAAIAjAAAAIgAAACUAAAAkAAAAJwAAACYAAAAp"
    "AAAAKAAAACsAAAAqAAAALQAAACwAAAAvAAAALgAAALw0AgC9tAIAMwAAADIAAAA1AAAANAAAADcAAAA2AAAAOQAAADgAAAA7AAAAt2ACAKbdAA"
    "A8AAAAPwAAAD4AAABBAAAAQAAAAEMAAABCAAAARQAAAEQAAABHAAAARgAAAEkAAABIAAAASwAAAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAA"
    "AABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAAAFwAAABfAAAAXgAAAGEAAABgAAAAYwAAAGWsAgBlAAAAZAAAAG"
    "cAAABmAAAAaQAAAGgAAABrAAAAagAAAG0AAABsAAAAbwAAAG4AAABxAAAAcAAAAHMAAAByAAAAdQAAAHQAAAB3AAAAdgAAAHkAAAB4AAAAewAA"
    "AHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAACDAAAAggAAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjg"
    "AAAJEAAACQAAAAkwAAAJIAAACVAAAAlAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAAChAAAAoAAAAKMAAACiAAAA"
    "pQAAAKQAAACnAAAApgAAAKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAACuAAAAsQAAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AA"
    "AAuAAAALsAAAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADCiAEAxAAAAMcAAADGAAAAyQAAAMgAAADLAAAAygAAAM0AAADM"
    "AAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA4QAAAOAAAA"
    "DjAAAA4gAAAOKoAQDj2AEA5wAAAOYAAADpAAAA75QBAOsAAADqAAAA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAAAPIAAAD1AAAA9AAAAPcA"
    "AAD2AAAA+QAAAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAuLi4AMQAxLzIAMgBBAGIAZmkAw4UAw6kA2LXZhNmJINin2YTZhNmHIN"
    "i52YTZitmHINmI2LPZhNmFAA=="
)
"""ﬁ ① ½ Å(U+212B) e+U+0301 … Ａ ｂ ² ﷺ, three kinds of space, and U+0007, U+200B, U+200F, which become nothing."""

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def token(id: int, content: str, **flags: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": content, **plain, **flags}


def level(space: bool, trim: bool = True, **rest: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": trim, **rest}


def file(model: dict[str, Any], added: list[dict], **sections: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return {"version": "1.0", **empty, "added_tokens": added, **sections, "model": model}


def template(single: str, pair: str, ids: dict[str, int]) -> dict[str, Any]:
    def items(text: str) -> list[dict]:
        words = [word.split(":") for word in text.split()]
        return [
            {"Sequence" if name[0] == "$" else "SpecialToken": {"id": name.removeprefix("$"), "type_id": int(kind)}}
            for name, kind in words
        ]

    known = {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in ids.items()}
    return {"type": "TemplateProcessing", "single": items(single), "pair": items(pair), "special_tokens": known}


@lru_cache
def bytelevel(*specials: str) -> dict[str, Any]:
    return model_of(rust_bpe(TRAINING, 900, specials))


def gpt2() -> dict[str, Any]:
    old = bytelevel("<|endoftext|>")
    merges = [" ".join(pair) for pair in old["merges"]]
    model = {"dropout": None, "unk_token": "", "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    model |= {"fuse_unk": False, "vocab": old["vocab"], "merges": merges}  # the oldest form: no type
    added = [token(0, "<|endoftext|>", normalized=True)]
    words = level(False)
    return file(model, added, pre_tokenizer=words, decoder=level(True), post_processor=level(True, trim=False))


def roberta(space: bool = False) -> dict[str, Any]:
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    added = [token(id, name, normalized=name != "<mask>", lstrip=name == "<mask>") for id, name in enumerate(names)]
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    roberta |= {"trim_offsets": True, "add_prefix_space": space}
    model = {**bytelevel(*names), "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    return file(model, added, pre_tokenizer=level(space), decoder=level(True), post_processor=roberta)


def smollm2() -> dict[str, Any]:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    digits = {"type": "Digits", "individual_digits": True}
    words = {"type": "Sequence", "pretokenizers": [digits, level(False, use_regex=True)]}
    added = [token(id, name) for id, name in enumerate(names)]
    return file(bytelevel(*names), added, pre_tokenizer=words, decoder=level(True, use_regex=True))


def llama3() -> dict[str, Any]:
    model = dict(bytelevel())
    model["vocab"] = {**model["vocab"], "Ġasleep": 900}  # which no merge makes, so that ignore_merges shows
    split = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
    words = {"type": "Sequence", "pretokenizers": [split, level(False, use_regex=False)]}
    around = template("<|begin|>:0 $A:0", "<|begin|>:0 $A:0 <|begin|>:1 $B:1", {"<|begin|>": 901})
    post = {"type": "Sequence", "processors": [level(True, trim=False, use_regex=True), around]}
    added = [token(901, "<|begin|>"), token(902, "<|eot|>")]
    decoder = level(True, use_regex=True)
    return file({**model, "ignore_merges": True}, added, pre_tokenizer=words, decoder=decoder, post_processor=post)


@lru_cache
def fallback() -> dict[str, Any]:
    rust = Rust(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    rust.normalizer = normalizers.Replace(" ", "▁")
    rust.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    specials = ["<unk>", "<s>", "</s>", *bytes_]
    trainer = trainers.BpeTrainer(vocab_size=900, limit_alphabet=100, special_tokens=specials, show_progress=False)
    rust.train_from_iterator(TRAINING, trainer)
    return model_of(rust)


def llama2(space: str) -> dict[str, Any]:
    mark = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    old = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, mark]}
    new = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": space, "split": False}
    decoders = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]
    decoders += [{"type": "Fuse"}]
    if space != "never":
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return file(
        fallback(),
        [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")],
        normalizer=old if space == "normal" else None,
        pre_tokenizer=None if space == "normal" else new,
        post_processor=template("<s>:0 $A:0", "<s>:0 $A:0 <s>:1 $B:1", {"<s>": 1}),
        decoder={"type": "Sequence", "decoders": decoders},
    )


@lru_cache
def t5() -> dict[str, Any]:
    specials = ["<pad>", "</s>", "<unk>"]
    trained = Unigram.train(TRAINING, 700, specials=specials)
    vocabulary = [list(pair) for pair in zip(trained.pieces, trained.scores, strict=True)]
    space = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    ends = template("$A:0 </s>:0", "$A:0 </s>:0 $B:0 </s>:0", {"</s>": 1})
    added = [token(id, name) for id, name in enumerate(specials)]
    added += [token(len(vocabulary) + i, f"<extra_id_{9 - i}>") for i in range(10)]
    return file(
        {"type": "Unigram", "unk_id": 2, "vocab": vocabulary},
        added,
        normalizer={"type": "Precompiled", "precompiled_charsmap": CHARSMAP},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        post_processor=ends,
        decoder=space,
    )


def bert(lowercase: bool) -> dict[str, Any]:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained = model_of(rust_wordpiece(TRAINING, 1200, names))["vocab"]
    model = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": trained}
    around = "[CLS]:0 $A:0 [SEP]:0"
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    return file(
        model,
        [token(id, name) for id, name in enumerate(names)],
        normalizer={**normalizer, "lowercase": lowercase},
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=template(around, f"{around} $B:1 [SEP]:1", {"[CLS]": 2, "[SEP]": 3}),
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )


FAMILIES = {
    "gpt2": gpt2,
    "roberta": roberta,
    "roberta, prefix space": lambda: roberta(True),
    "smollm2": smollm2,
    "llama 3": llama3,
    "llama 2, older": lambda: llama2("normal"),
    "llama 2, first": lambda: llama2("first"),
    "llama 2, always": lambda: llama2("always"),
    "llama 2, never": lambda: llama2("never"),
    "t5": t5,
    "bert, distilbert": lambda: bert(True),
    "bert, cased": lambda: bert(False),
}


def text_of(family: str) -> str:
    """The file of a family."""
    return json.dumps(FAMILIES[family](), ensure_ascii=False)
