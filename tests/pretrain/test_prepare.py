"""A text on the way to packed ids, and the recipe of GPT-2 in small on top of it. The text here is made up."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from lib import recipe
from lib.attention.masks import documents
from lib.data import DataError
from lib.gguf import from_gguf
from lib.load import from_pretrained
from lib.pretrain import prepare as module
from lib.pretrain.packing import Packed
from lib.pretrain.prepare import END, Source, prepare
from lib.tasks import gpt_text
from lib.tokens.bpe import BPE
from lib.train import fit

WORDS = "the cat sat on a mat while seven old dogs ran over grass and sang to their moon".split()
SOURCE = Source("SetFit/bbc-news", n_vocab=300, n_held=5)


def story(seed):
    return " ".join(np.random.default_rng(seed).choice(WORDS, 40))


STORIES = [story(i) for i in range(60)]


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """A text of 60 stories, the last of them a copy of the first; a list that grows by 1 whenever it is opened."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    opened = []

    def load(name):
        opened.append(name)
        return DatasetDict(train=Dataset.from_dict({"text": [*STORIES, STORIES[0]], "label": [0] * 61}))

    monkeypatch.setattr(module, "load", load)
    return opened


def texts(made, ids):
    """The documents of packed ids, as text."""
    return [made.tokenizer.decode(part[1:].tolist()) for part in np.split(ids, np.flatnonzero(ids == made.end))[1:]]


def test_what_is_held_is_not_trained_on(reads):
    made = prepare(SOURCE)
    assert texts(made, made.held) == STORIES[:5] and made.n_bytes == sum(map(len, STORIES[:5]))
    assert texts(made, made.train) == STORIES[5:]  # without the copy
    learned = BPE.train(STORIES[5:], 300, specials=[END])  # from what is trained on, and no more
    assert made.tokenizer.pieces == learned.pieces


def test_it_is_made_once(reads):
    first = prepare(SOURCE)
    n = len(reads)
    again = prepare(SOURCE)
    assert len(reads) == n > 0 and (again.train == first.train).all()
    assert len(prepare(replace(SOURCE, n_train=100)).train) == 100 and len(reads) > n  # another source, another folder


def test_what_was_interrupted_is_made_again(reads, monkeypatch):
    write = module.packing.write

    def full(path, *arguments):
        if path.name == "held.npy":
            raise OSError("the disk is full")
        return write(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module.packing, "write", full)
        with pytest.raises(OSError, match="full"):
            prepare(SOURCE)
    made = prepare(SOURCE)
    assert texts(made, made.held) == STORIES[:5]


def test_a_tokenizer_of_ones_own(reads, tmp_path):
    other = BPE.train(["moon moon"], 260, specials=[END])
    other.save(tmp_path / "tokenizer.json")
    made = prepare(replace(SOURCE, tokenizer=str(tmp_path / "tokenizer.json")))
    assert made.tokenizer.pieces == other.pieces
    BPE.train(["moon"], 259).save(tmp_path / "without.json")
    with pytest.raises(KeyError, match="endoftext"):
        prepare(replace(SOURCE, tokenizer=str(tmp_path / "without.json")))
    with pytest.raises(DataError, match="There is no tokenizer"):
        prepare(replace(SOURCE, tokenizer=str(tmp_path / "nowhere.json")))
    with pytest.raises(ValueError, match="61 documents, and 100"):
        prepare(replace(SOURCE, n_held=100))


TINY = ["n_layers=1", "n_heads=2", "d_model=16", "n_context=16", "n_vocab=300", "n_held=5", "text=SetFit/bbc-news"]
SET = [f"options.{each}" for each in TINY] + ["train.steps=40", "train.warmup=4", "train.batch=8", "train.lr=0.01"]


@pytest.mark.parametrize("name", ["gpt2-mini", "gpt2-124m"])
def test_the_recipe_learns(name, reads):
    """The whole of it in small: bfloat16, accumulation and compilation where the recipe has them."""
    plan = recipe.read(name, [*SET, "train.accumulate=2", "options.n_train=1000000"])
    plan = replace(plan, train=replace(plan.train, compile=False))  # compiled in tests/train/test_parallel.py
    task = plan.make()
    before = task.evaluate(task.model.eval())
    after = fit(task, plan.train, show="none").metrics
    assert abs(before["nats"] - np.log(320)) < 0.1  # every id equally likely, those without a token too
    assert after["nats"] < before["nats"] - 1.5
    made = prepare(gpt_text.source(plan.options))
    assert after["bits_per_byte"] == pytest.approx(after["nats"] / np.log(2) * len(made.held) / made.n_bytes)
    assert task.model.spec.n_vocab == 320 and task.model.spec.p_dropout == 0


def test_the_loss_is_that_of_documents_apart(reads):
    task = recipe.read("gpt2-mini", [*SET, "options.n_context=64"]).make()
    model = task.model.eval().double()
    batch = Packed(prepare(SOURCE).train, 64, 0).batch([0, 3])
    total, count = gpt_text.loss(model, batch)
    x, y, numbers = batch
    p = model(x, mask=documents(numbers)).softmax(-1)
    by_hand = -p.gather(-1, y[..., None]).log().sum()
    assert count == 128 and total.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert total.item() != pytest.approx(gpt_text.loss(model, (x, y, torch.zeros_like(x)))[0].item(), rel=1e-6)


def test_the_folder_says_what_it_is_of(reads, tmp_path):
    prepare(SOURCE)
    (folder,) = (tmp_path / "data" / "packed").iterdir()
    about = json.loads((folder / "held.json").read_text("utf-8"))
    assert about["source"]["text"] == "SetFit/bbc-news" and folder.name.startswith("SetFit--bbc-news-")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_it_leaves_with_its_tokenizer(name, reads, tmp_path):
    """`course train` ends with a folder that transformers reads, and with a file for llama.cpp."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plan = recipe.read("gpt2-mini", [*SET, "train.steps=4", f"options.model={name}", f"folder={tmp_path}/run"])
    recipe.train(plan)
    folder = tmp_path / "run" / "model"
    ours, made = from_pretrained(folder), prepare(gpt_text.source(plan.options))
    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = made.tokenizer.encode(STORIES[0]).ids[:16]
    assert tokenizer(STORIES[0]).input_ids[:16] == ids and tokenizer.eos_token == END
    x = torch.tensor([ids])
    with torch.no_grad():
        torch.testing.assert_close(theirs(x).logits, ours(x), rtol=0, atol=1e-5)
        torch.testing.assert_close(from_gguf(folder / "model.gguf")(x), ours(x), rtol=0, atol=1e-3)  # from float16


def test_too_little_text_to_score_is_said_before_training(reads):
    assert len(prepare(SOURCE).held) < 1000 < len(prepare(SOURCE).train)
    with pytest.raises(ValueError, match="pack more documents"):
        recipe.read("gpt2-mini", [*SET, "options.n_context=1000"]).make()
