"""How fast is `lib.tokens`? Beside the Rust library `tokenizers`, in one run.

    OMP_NUM_THREADS=1 python bench/tokens.py

Both learn 8,000 merges from the training text of tiny_shakespeare (1.0 MB), and must learn the same ones. Both encode
that text, in one piece and by paragraph, and must give the same ids. The Rust library has one thread, as ours has; what
is measured is the processor's time, in turns, so that what else the machine does matters little. "cold" is with an
empty cache of words.

Training is measured once more, in a fresh process each, for its memory: by how much the most that the process holds
(its resident set) exceeds what it held when training began; and with it, Unigram with 8,000 pieces. The two trainers of
Unigram begin with other seeds and end with other pieces.
Exit status 1 when one of the course's two bounds is missed: 10 s to train, 1 MB/s to encode with the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before the import that reads it
os.environ["RAYON_NUM_THREADS"] = "1"

import psutil
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, pre_tokenizers, trainers

from lib.data import load
from lib.tokens.base import Tokenizer
from lib.tokens.bpe import BPE
from lib.tokens.char import Char
from lib.tokens.unigram import Unigram
from lib.tokens.wordpiece import WordPiece

N_MERGES = N_PIECES = 8_000
MOST_SECONDS, LEAST_SPEED = 10, 1
"""The bounds, from the course's plan: issue 4, "Tokenizers"."""


def train_rust(text: str, n_vocab: int) -> Rust:
    """Byte-level BPE by the Rust trainer."""
    rust = Rust(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rust.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=n_vocab, initial_alphabet=alphabet, show_progress=False)
    )
    return rust


def train_rust_unigram(text: str, n_vocab: int) -> Rust:
    """Unigram by the Rust trainer."""
    rust = Rust(models.Unigram())
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=n_vocab, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    rust.train_from_iterator([text], trainer)
    return rust


TRAINERS: dict[str, Callable[[str], object]] = {
    "BPE": lambda text: BPE.train([text], 256 + N_MERGES),
    "BPE in Rust": lambda text: train_rust(text, 256 + N_MERGES),
    "Unigram": lambda text: Unigram.train([text], N_PIECES),
    "Unigram in Rust": lambda text: train_rust_unigram(text, N_PIECES),
}


def train_alone(name: str, path: str) -> None:
    """Train on the text of a file; print processor time and the megabytes it took at most, looked at every 5 ms."""
    text = Path(path).read_text(encoding="utf-8")
    process, done = psutil.Process(), threading.Event()
    held = [process.memory_info().rss]

    def watch() -> None:
        while not done.wait(0.005):
            held.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    time_ = seconds(lambda: TRAINERS[name](text))
    done.set()
    watcher.join()
    print(json.dumps([time_, (max(held) - held[0]) / 1e6]))


def show_training(text: str) -> None:
    """Time and memory of each trainer, in processes of their own."""
    rows = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_text(text, encoding="utf-8", newline="")
        for name in TRAINERS:
            child = [sys.executable, __file__, "--alone", name, str(path)]
            rows[name] = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
    print("\ntraining in a process of its own")
    for name in ("BPE", "Unigram"):
        (mine, ours), (rusts, theirs) = rows[name], rows[f"{name} in Rust"]
        print(f"{name + ', time':<26}{mine:>10.2f} s{rusts:>10.2f} s{mine / rusts:>18.2f}")
        print(f"{name + ', peak memory':<26}{ours:>9.1f} MB{theirs:>9.1f} MB{ours / theirs:>18.2f}")


def rust_of(tokenizer: Tokenizer) -> Rust:
    """The Rust library's tokenizer from a file of ours."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(path)
        return Rust.from_file(str(path))


def seconds(f: Callable[[], object]) -> float:
    """Processor time of f()."""
    start = time.process_time()
    f()
    return time.process_time() - start


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], times: int) -> tuple[float, float, float]:
    """The median time of each, and the median of their ratios."""
    rows = [(seconds(ours), seconds(theirs)) for _ in range(times)]
    mine, rusts = (statistics.median(column) for column in zip(*rows, strict=True))
    return mine, rusts, statistics.median(a / b for a, b in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="times that each measurement is taken (default 5)")
    parser.add_argument("--alone", nargs=2, metavar=("NAME", "FILE"), help="only train NAME on FILE, for its memory")
    args = parser.parse_args()
    if args.alone:
        train_alone(*args.alone)
        return 0

    text = load("karpathy/tiny_shakespeare")["train"]["text"][0]
    size = len(text.encode()) / 1e6
    n_vocab = 256 + N_MERGES
    train = in_turns(lambda: BPE.train([text], n_vocab), lambda: train_rust(text, n_vocab), args.times)
    ours, theirs = BPE.train([text], n_vocab), train_rust(text, n_vocab)
    learnt = json.loads(theirs.to_str())["model"]
    assert ours.ids == learnt["vocab"] and [list(pair) for pair in ours.merges] == learnt["merges"], "other merges"

    paragraphs = text.split("\n\n")
    for row in [text, *paragraphs]:
        assert ours.encode(row).ids == theirs.encode(row).ids, f"other ids for {row[:50]!r}"

    def cold() -> None:
        BPE(ours.pieces, ours.merges).encode(text)

    def cold_rust() -> None:
        Rust.from_str(saved).encode(text)

    saved = theirs.to_str()
    whole = in_turns(lambda: ours.encode(text), lambda: theirs.encode(text), args.times)
    rows = in_turns(lambda: ours.encode_batch(paragraphs), lambda: theirs.encode_batch(paragraphs), args.times)
    first = in_turns(cold, cold_rust, args.times)

    print(f"{size:.2f} MB, {len(ours.merges)} merges, {len(paragraphs)} paragraphs, median of {args.times}; ")
    print(f"both learnt the same {len(ours)} pieces, and give the same ids\n")
    print(f"{'':<26}{'lib.tokens':>12}{'Rust':>12}{'ratio of times':>18}")
    print(f"{'train':<26}{train[0]:>10.2f} s{train[1]:>10.2f} s{train[2]:>18.2f}")
    for name, (mine, rusts, ratio) in {
        "encode, by paragraph": rows,
        "encode, in one piece": whole,
        "load and encode, cold": first,
    }.items():
        print(f"{name:<26}{size / mine:>7.2f} MB/s{size / rusts:>7.2f} MB/s{ratio:>18.2f}")
    print("\nthe others, encoding by paragraph (each Rust tokenizer is loaded from the file that ours saves)")
    for tokenizer in (WordPiece.train([text], n_vocab), Unigram.train([text[:50_000]], 500), Char.train([text])):
        rust = rust_of(tokenizer)
        assert all(tokenizer.encode(row).ids == rust.encode(row).ids for row in paragraphs), "other ids"
        mine, rusts, ratio = in_turns(
            partial(tokenizer.encode_batch, paragraphs), partial(rust.encode_batch, paragraphs), args.times
        )
        print(f"{type(tokenizer).__name__:<26}{size / mine:>7.2f} MB/s{size / rusts:>7.2f} MB/s{ratio:>18.2f}")
    show_training(text)
    speed = size / max(rows[0], whole[0])
    print(f"\ntrain   {train[0]:6.2f} s       (at most {MOST_SECONDS})")
    print(f"encode  {speed:6.2f} MB/s    (at least {LEAST_SPEED})")
    return 0 if train[0] <= MOST_SECONDS and speed >= LEAST_SPEED else 1


if __name__ == "__main__":
    sys.exit(main())
