"""BERT in small, on news: it fills gaps, and says whether one stretch of text follows another.

    course tokenizer bert-mini        cuts the training text into pieces, and learns the commonest
    course train bert-mini
    course train bert-mini-sst2       lib/tasks/bert_classify.py goes on from there

`options.held` says what is kept aside and scored. "tuning": train on 95% of the training documents and score the rest
of them, to choose settings. "test": train on all of them and score the test documents, once the choice is made. Either
way no training document repeats a held-out one.

J. Devlin et al. (2018), "BERT", section 3.1. Only the positions that are asked about go through the last layer, as in
the authors' published code: that layer is half of the work otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.attention.masks import padding
from lib.data import load
from lib.heads import Pretraining
from lib.load import save_pretrained
from lib.pretrain.documents import sentences, split_documents, without_copies
from lib.pretrain.masking import IGNORE, continuations, mask_tokens, word_numbers
from lib.pretrain.pairs import Pair, assemble, sentence_pairs
from lib.pretrain.vectors import counts, vectors
from lib.shapes import BT
from lib.spec import get
from lib.stack import Model
from lib.tokens.base import Tokenizer
from lib.tokens.layout import Template
from lib.tokens.load import load as read_tokenizer
from lib.tokens.wordpiece import WordPiece
from lib.train import ConfigError, Task
from lib.train.config import number
from lib.train.sampler import mixed

NAME = "SetFit/bbc-news"
TUNING = 0.05
"""Share of the training documents that is kept aside to choose settings on."""
N_VALID = 256
"""Rows that are scored at once."""


@dataclass(frozen=True)
class Options:
    corpus: str = NAME
    """A data set of the course with a column "text", one document a row."""
    sentences: str = ""
    """A data set with a column "sentence", whose training sentences are read too, for the gaps alone; "" for none."""
    n_repeats: int = number(1, least=1)
    """Times that those are read in each pass over the documents."""
    further: str = ""
    """A data set with a column "text", whose training documents are read too, once, for the gaps alone; "" for none."""
    streaming: bool = False
    """Read the documents as they come, through a buffer that shuffles them; what is not read is not fetched either."""
    n_buffer: int = number(1000, least=1)
    """Documents in that buffer."""
    n_documents: int = number(0, least=0)
    """At most so many documents of a split; 0 for all, which a stream without an end cannot give."""
    n_passes: int = number(10, least=1)
    """Times that the documents are parted into pairs, each time otherwise."""
    tokenizer: str = "runs/bert-mini/tokenizer.json"
    n_vocab: int = number(6000, least=100)
    n_context: int = number(64, least=8)
    n_layers: int = number(2, least=1)
    n_heads: int = number(4, least=1)
    d_model: int = number(128, least=2)
    p_dropout: float = number(0.0, least=0, below=1)
    p_masked: float = number(0.15, above=0, below=1)
    whole_words: bool = False
    """Mask all pieces of a word or none."""
    n_window: int = number(6, least=0)
    """The tokens' first vectors are out of counts of who stands at most so far from whom; 0: they are noise."""
    p_hard: float = number(0.3, least=0, most=1)
    """Share of hard pairs among those that do not follow."""
    w_pairs: float = number(1.0, least=0)
    """What a nat of the pairs weighs beside a nat of the gaps."""
    held: Literal["tuning", "test"] = "tuning"


# --- text ------------------------------------------------------------------------------------------------------------


def documents(options: Options, seed: int = 0) -> tuple[list[str], list[str]]:
    """The documents to train on and those that are scored; see the module's head."""
    data: Any = load(options.corpus)
    if "text" not in data["train"].column_names or (options.held == "test" and "test" not in data):
        raise ConfigError(
            f"corpus={options.corpus!r} lacks a column 'text', or a split 'test': set options.held=tuning."
        )
    endless = not hasattr(data["train"], "__len__")
    if endless and not options.n_documents:
        raise ConfigError(f"corpus={options.corpus!r} is a stream without an end: set options.n_documents.")

    def texts(rows: Any) -> list[str]:
        return [row["text"] for row in (rows.take(options.n_documents) if options.n_documents else rows)]

    train: Any = data["train"]
    if options.streaming:
        train = train if endless else train.to_iterable_dataset(num_shards=8)
        train = train.shuffle(seed=seed, buffer_size=options.n_buffer)
    if options.held == "test":
        read, held = texts(train), texts(data["test"])
    else:
        read, held = split_documents(texts(train), TUNING, np.random.default_rng(0))
    return without_copies(read, held), held


def further_sentences(options: Options) -> list[str]:
    """The training sentences of `options.sentences`."""
    return list(load(options.sentences)["train"]["sentence"]) if options.sentences else []


def further_documents(options: Options) -> list[str]:
    """The training documents of `options.further`. IMDB's reviews mark a line break as a web page does."""
    texts = load(options.further)["train"]["text"] if options.further else []
    return [text.replace("<br />", "\n") for text in texts]


def train_tokenizer(options: Options) -> Tokenizer:
    """WordPiece on the training text; what `course tokenizer` writes to `options.tokenizer`."""
    train, _ = documents(options)
    template = Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    texts = train + further_sentences(options) + further_documents(options)
    return WordPiece.train(texts, options.n_vocab, least=2, template=template)


def find_tokenizer(path: str, command: str) -> Tokenizer:
    """The tokenizer in a file; ConfigError, with the command that writes it, where there is none."""
    if not Path(path).is_file():
        raise ConfigError(f"There is no tokenizer {path}. `{command}` writes it.")
    return read_tokenizer(path)


def encoded(texts: Iterable[str], tokenizer: Tokenizer) -> list[list[list[int]]]:
    """Each text as a list of sentences, each a list of ids."""
    return [[tokenizer.encode(each, special=False).ids for each in sentences(text)] for text in texts]


# --- rows ------------------------------------------------------------------------------------------------------------


class Rows:
    """Pairs as rows; a batch has other gaps each time, drawn from its generator.

    A batch: x (B, T) with gaps, kinds (B, T), lengths (B,), y (B, T) with IGNORE where nothing is asked, and labels
    (B,): 0 where the second stretch follows, 1 where not, IGNORE where that is not asked.
    """

    def __init__(self, pairs: Sequence[Pair], labels: Sequence[int], tokenizer: Tokenizer, options: Options):
        self.names = {name: tokenizer.id_of(f"[{name.upper()}]") for name in ("cls", "sep", "pad")}
        self.mask_id, self.n_vocab = tokenizer.id_of("[MASK]"), len(tokenizer)
        self.p, n = options.p_masked, options.n_context
        self.continues = continuations(tokenizer.pieces) if options.whole_words else None
        self.ids = torch.empty(len(pairs), n, dtype=torch.int32)  # N T
        self.kinds, self.special = torch.empty_like(self.ids, dtype=torch.uint8), torch.empty(self.ids.shape).bool()
        for i, pair in enumerate(pairs):
            self.ids[i], self.kinds[i], self.special[i] = assemble(pair, n_context=n, **self.names)
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int], rng: torch.Generator) -> tuple[BT, BT, Tensor, BT, Tensor]:
        chosen = torch.as_tensor(indices)
        ids, special = self.ids[chosen].long(), self.special[chosen]
        words = None if self.continues is None else word_numbers(ids, self.continues)
        x, y = mask_tokens(
            ids, special=special, mask_id=self.mask_id, n_vocab=self.n_vocab, p=self.p, generator=rng, words=words
        )
        lengths = (ids != self.names["pad"]).sum(dim=1)
        return x, self.kinds[chosen].long(), lengths, y, self.labels[chosen]


def training_rows(texts: Sequence[str], tokenizer: Tokenizer, options: Options, seed: int) -> Rows:
    """Rows of all documents, parted n_passes times; and of what is read for the gaps alone.

    Of that, further documents are parted once. Further sentences stand alone, so they follow each other in another
    order each time.
    """
    rng = np.random.default_rng(mixed(seed, 0))
    read = encoded(texts, tokenizer)
    alone = [tokenizer.encode(each, special=False).ids for each in further_sentences(options)]
    gaps = sentence_pairs(encoded(further_documents(options), tokenizer), options.n_context, rng, p_follows=1.0)
    pairs: list[Pair] = []
    for _ in range(options.n_passes):
        pairs += sentence_pairs(read, options.n_context, rng, p_hard=options.p_hard)
        order = rng.permutation(len(alone) * options.n_repeats) % max(1, len(alone))
        shuffled = [[alone[i] for i in order]] if alone else []
        gaps += sentence_pairs(shuffled, options.n_context, rng, p_follows=1.0)
    labels = [pair.label for pair in pairs] + [IGNORE] * len(gaps)
    return Rows(pairs + gaps, labels, tokenizer, options)


def held_rows(texts: Sequence[str], tokenizer: Tokenizer, options: Options) -> tuple[Rows, list[Pair]]:
    """Rows of documents that are scored, the same in every run, and the pairs that they hold."""
    rng = np.random.default_rng(0)
    pairs = sentence_pairs(encoded(texts, tokenizer), options.n_context, rng, p_hard=options.p_hard)
    return Rows(pairs, [pair.label for pair in pairs], tokenizer, options), pairs


# --- model and loss --------------------------------------------------------------------------------------------------


class AtGaps(Model):
    """A model with the head `Pretraining` that answers for chosen positions alone."""

    head: Pretraining

    def forward(self, ids: BT, kinds: BT, lengths: Tensor, asked: BT) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """asked: bool (B, T), True at N positions. The logits (N, V) of these, row by row, and (B, 2) of the pairs."""
        y = self.body(ids, kinds, padding(lengths))
        table, head = self.body.embed.tokens.weight, self.head
        return head.tokens(y[asked][None], table)[0], head.sentence(y, table)


def loss(model: nn.Module, batch: tuple[BT, BT, Tensor, BT, Tensor], w_pairs: float = 1.0) -> tuple[Tensor, Tensor]:
    """Nats a gap plus w_pairs times nats a pair, times the number of gaps; and that number."""
    x, kinds, lengths, y, labels = batch
    asked = y != IGNORE
    tokens, pairs = model(x, kinds, lengths, asked)
    gaps = F.cross_entropy(tokens, y[asked], reduction="sum")
    n_pairs = (labels != IGNORE).sum().clamp(min=1)
    follows = F.cross_entropy(pairs, labels, ignore_index=IGNORE, reduction="sum") / n_pairs
    return gaps + w_pairs * follows * asked.sum(), asked.sum()


@torch.no_grad()
def score(model: nn.Module, rows: Rows, pairs: Sequence[Pair]) -> dict[str, float]:
    """Shares of gaps and of pairs, all and of each kind, that are answered rightly. The gaps are always the same."""
    device, rng = next(model.parameters()).device, torch.Generator().manual_seed(0)
    nats, right, n_gaps, said = 0.0, 0, 0, []
    for numbers in torch.arange(len(rows)).split(N_VALID):
        x, kinds, lengths, y, _ = (part.to(device) for part in rows.batch(numbers.tolist(), rng))
        tokens, answers = model(x, kinds, lengths, y != IGNORE)
        y = y[y != IGNORE]
        nats += F.cross_entropy(tokens, y, reduction="sum").item()
        right, n_gaps = right + int((tokens.argmax(dim=-1) == y).sum()), n_gaps + len(y)
        said.append(answers.argmax(dim=-1).cpu())
    good = (torch.cat(said) == rows.labels).double()
    follows, hard = (torch.tensor([getattr(pair, name) for pair in pairs]) for name in ("follows", "hard"))
    return {
        "masked": right / n_gaps,
        "nats": nats / n_gaps,
        "pairs": good.mean().item(),
        "following": good[follows].mean().item(),
        "easy": good[~follows & ~hard].mean().item(),
        "hard": good[hard].mean().item(),
    }


def build(options: Options, seed: int) -> Task:
    """The model, the rows of the training documents, and its scores on rows of the documents that are held."""
    torch.set_flush_denormal(True)  # a rare token's averages in AdamW fade to numbers that a processor is slow with
    tokenizer = find_tokenizer(options.tokenizer, "course tokenizer bert-mini")
    train, held = documents(options, seed)
    rows = training_rows(train, tokenizer, options, seed)
    scored, pairs = held_rows(held, tokenizer, options)
    sizes: dict[str, Any] = {name: getattr(options, name) for name in ("n_layers", "n_heads", "d_model", "p_dropout")}
    sizes |= {"n_vocab": len(tokenizer), "n_positions": options.n_context, "d_ff": 4 * options.d_model}
    model = AtGaps(get("mini-bert").but(**sizes))
    if options.n_window:
        together = counts(rows.ids.long(), len(tokenizer), options.n_window, rows.special)
        table = model.body.embed.tokens.weight
        table.data = vectors(together, options.d_model, model.spec.std)
    watch = "nats" if options.held == "tuning" else ""  # the best of many test scores would be a choice
    # At the rate of the matrices the pairs' tanh is saturated, and of the counts in the table nothing is left.
    slowly = {"head.sentence.": 0.1, "body.embed.tokens.": 0.03}
    weighed = partial(loss, w_pairs=options.w_pairs)
    return Task(model, rows, weighed, lambda model: score(model, scored, pairs), watch, better=min, shares=slowly)


def export(model: Model, options: Options, folder: Path) -> None:
    """The model and its tokenizer, for lib.load and for `transformers`: AutoModelForPreTraining, AutoTokenizer."""
    save_pretrained(model, folder, read_tokenizer(options.tokenizer))
