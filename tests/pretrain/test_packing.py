"""Packed documents: nothing lost, nothing seen across an end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib import seed
from lib.attention.backends import attention
from lib.attention.masks import documents
from lib.pretrain.packing import Packed, pack, read, write
from lib.spec import get
from lib.stack import Model

END = 0
TEXTS = st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=8)


def split(ids):
    """The documents of packed ids."""
    ends = np.flatnonzero(ids == END)
    return [part[1:].tolist() for part in np.split(ids, ends)[1:]]


@given(TEXTS)
def test_packing_loses_nothing(texts):
    assert split(pack(texts, END)) == texts


@given(TEXTS, st.integers(1, 5))
def test_each_id_but_the_first_is_predicted_once(texts, n_context):
    ids = pack(texts, END)
    if len(ids) <= n_context:
        with pytest.raises(ValueError, match="pack more documents"):
            Packed(ids, n_context, END)
        return
    rows = Packed(ids, n_context, END)
    parts = list(rows.batches(3))
    x, y, _ = (torch.cat(part).flatten() for part in zip(*parts, strict=True))
    n = len(rows) * n_context
    assert x.tolist() == ids[:n].tolist() and y.tolist() == ids[1 : n + 1].tolist()
    assert n > len(ids) - 1 - n_context  # what is left over fills no row


def test_numbers_of_the_documents():
    ids = pack([[5, 6], [7], [8, 9, 4]], END)  # 0 5 6 0 7 0 8 9 4
    x, y, numbers = Packed(ids, 4, END).batch([0, 1])
    assert x.tolist() == [[0, 5, 6, 0], [7, 0, 8, 9]] and y.tolist() == [[5, 6, 0, 7], [0, 8, 9, 4]]
    assert numbers.tolist() == [[1, 1, 1, 2], [0, 1, 1, 1]]  # the second row begins within a document


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_packed_document_is_read_as_if_alone(name):
    """The answers are those for the document by itself; learned positions, which run on, are made equal for that."""
    seed(0)
    sizes = {"n_vocab": 12, "n_positions": 16, "n_layers": 2, "n_heads": 2, "d_model": 16, "d_ff": 32}
    model = Model(get(name).but(**sizes, attend=attention)).double().eval()
    texts = [[5, 6, 7], [8, 9], [4, 3, 2, 1]]
    x, _, numbers = Packed(pack([*texts, [1]], END), 12, END).batch([0])
    if name == "gpt2":
        model.body.embed.pos.weight.data[:] = model.body.embed.pos.weight.data[0].clone()
    packed = model(x, mask=documents(numbers))[0]
    at = 0
    for text in texts:
        alone = model(torch.tensor([[END, *text]]))[0]
        torch.testing.assert_close(packed[at : at + len(alone)], alone, rtol=0, atol=1e-12)
        at += len(alone)
    assert not torch.allclose(model(x)[0, 4:], packed[4:])  # without the mask it is not so


@pytest.mark.parametrize("name", ["gpt2", "llama", "mini-gpt"])
def test_a_packed_batch_compiles_into_one_graph(name):
    """fullgraph: an error at the first thing that would stop the compiler, such as a number read back from a tensor."""
    seed(0)
    sizes = {"n_vocab": 12, "n_positions": 16, "n_layers": 2, "n_heads": 2, "d_model": 16, "d_ff": 32}
    model = Model(get(name).but(**sizes, p_dropout=0.0, p_attend=0.0, attend=attention))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    rows = Packed(pack([[5, 6, 7], [8, 9], [4, 3, 2, 1], [1]], END), 6, END)
    for i in range(2):
        x, _, numbers = rows.batch([i])
        torch.testing.assert_close(compiled(x, mask=documents(numbers)), model(x, mask=documents(numbers)))


def test_a_file_holds_what_pack_gives(tmp_path):
    texts = [[1, 2, 3], [70_000], []]
    for n_vocab, size in ((70_001, 4), (4, 2)):
        some = texts if n_vocab > 4 else texts[:1]
        n = write(tmp_path / "ids.npy", iter(some), END, n_vocab)
        ids = read(tmp_path / "ids.npy")
        assert ids.tolist() == pack(some, END).tolist() and n == len(ids) and ids.itemsize == size
    assert isinstance(ids, np.memmap)
    assert write(tmp_path / "ids.npy", iter([[1, 2, 3]] * 10**6), END, 4, n_most=1001) == 1001
    assert read(tmp_path / "ids.npy").tolist() == [0, 1, 2, 3] * 250 + [0]


def test_a_stopped_writer_leaves_what_was_there(tmp_path):
    write(tmp_path / "ids.npy", [[1]], END, 4)

    def broken():
        yield [2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "ids.npy", broken(), END, 4)
    assert read(tmp_path / "ids.npy").tolist() == [0, 1] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("ids", [[4], [-1]])
def test_an_id_beyond_the_vocabulary_is_refused(ids, tmp_path):
    with pytest.raises(ValueError, match=f"from 0 to 3, but a document has {ids[0]}$"):
        write(tmp_path / "ids.npy", [ids], END, 4)
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"no array")
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in "abcd":
        with pytest.raises(ValueError, match=f"{name}.npy holds no packed ids"):
            read(tmp_path / f"{name}.npy")
    with pytest.raises(ValueError, match="one long row"):
        Packed(np.zeros((2, 2), int), 1, END)
