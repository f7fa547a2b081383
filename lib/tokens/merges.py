"""Learning and applying merges: byte-pair encoding, which BPE uses on bytes and WordPiece on characters.

The commonest pair of neighbouring pieces becomes a piece of its own, again and again. Counting all pairs anew after
each merge would cost (merges x corpus). Here a pair knows the words it stands in, and a merge changes the counts only
there.
Source: Sennrich, Haddow and Birch 2016, arXiv:1508.07909, section 3.2.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import count as numbers
from itertools import pairwise

Pair = tuple[int, int]

GONE = -1


def learn(
    words: list[list[int]], counts: list[int], pieces: list[str], n_vocab: int, least: int = 0, prefix: str = ""
) -> list[Pair]:
    """Merge until there are `n_vocab` pieces, or no pair occurs `least` times. Appends to `pieces`; changes `words`.

    words    each different word as ids of pieces; counts[i] is how often words[i] occurs
    prefix   what a piece inside a word begins with; it is dropped where the piece becomes the end of a longer one
    Returns the merges in order. Among equally common pairs the one with the smaller ids comes first: the older pieces.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    totals: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in pairwise(word):
            totals[pair] += counts[i]
            places[pair].add(i)
    serial = numbers()  # so that two entries of the heap never compare their sets
    heap = [(-totals[pair], pair, next(serial), where) for pair, where in places.items()]
    heapq.heapify(heap)

    merges: list[Pair] = []
    while heap and len(pieces) < n_vocab:
        minus, pair, _, where = heapq.heappop(heap)
        if -minus != totals[pair]:  # the count has changed since the entry was made
            heapq.heappush(heap, (-totals[pair], pair, next(serial), where))
            continue
        if -minus < max(least, 1):
            break
        piece = pieces[pair[0]] + pieces[pair[1]].removeprefix(prefix)
        new = ids.setdefault(piece, len(pieces))
        if new == len(pieces):
            pieces.append(piece)
        merges.append(pair)
        places = defaultdict(set)
        for i in where:
            for changed, change in replace(words[i], pair, new):
                totals[changed] += change * counts[i]
                if change > 0:
                    places[changed].add(i)
        for changed, where in places.items():
            heapq.heappush(heap, (-totals[changed], changed, next(serial), where))
    return merges


def replace(word: list[int], pair: Pair, new: int) -> Iterator[tuple[Pair, int]]:
    """Put `new` in the place of each `pair` in a word, from the left; yields the pairs that came (1) and went (-1)."""
    left, right = pair
    i = 0
    while i < len(word) - 1:
        if word[i] == left and word[i + 1] == right:
            if i:
                yield (word[i - 1], left), -1
                yield (word[i - 1], new), 1
            if i + 2 < len(word):
                yield (right, word[i + 2]), -1
                yield (new, word[i + 2]), 1
            word[i : i + 2] = [new]
        i += 1


def ranks(merges: Iterable[tuple[str, str]], ids: dict[str, int]) -> dict[Pair, tuple[int, int]]:
    """For the ids of a pair, its rank and the id of what it becomes. Raises ValueError for one that is no piece."""
    found = {}
    for rank, (left, right) in enumerate(merges):
        for piece in (left, right, left + right):
            if piece not in ids:
                raise ValueError(f"Merge {rank} is {left!r} + {right!r}, but {piece!r} is not in the vocabulary.")
        found[ids[left], ids[right]] = rank, ids[left + right]
    return found


def apply(word: list[int], merges: dict[Pair, tuple[int, int]], drop: Callable[[], bool] | None = None) -> list[int]:
    """Merge a word: always the pair with the lowest rank in it, the leftmost of equals.

    merges    for a pair, its rank (its place in the order of training) and the id of what it becomes
    drop      asked for each candidate whether it is passed over this time; it may come again after the next merge
    The neighbours of a piece are kept in two lists, so that n pieces take O(n log n) and not O(n²).
    """
    ids = [*word]
    before, after = list(range(-1, len(word) - 1)), list(range(1, len(word) + 1))
    heap = [(merges[pair][0], i, pair) for i, pair in enumerate(pairwise(word)) if pair in merges]
    heapq.heapify(heap)
    passed: list[tuple[int, int, Pair]] = []
    while heap:
        _, i, pair = top = heapq.heappop(heap)
        j = after[i]
        if j == len(ids) or (ids[i], ids[j]) != pair:  # one of the two has since been merged
            continue
        if drop and drop():
            passed.append(top)
            continue
        ids[i], ids[j] = merges[pair][1], GONE
        after[i] = after[j]
        if after[i] < len(ids):
            before[after[i]] = i
        for k in (before[i], i):
            if k >= 0 and after[k] < len(ids) and (made := (ids[k], ids[after[k]])) in merges:
                heapq.heappush(heap, (merges[made][0], k, made))
        while passed:
            heapq.heappush(heap, passed.pop())
    return [id for id in ids if id != GONE]
