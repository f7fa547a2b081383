"""What every tokenizer does alike, beside the Rust library: special tokens, pairs, truncation, padding, batches."""

import copy
import itertools

import pytest

from lib.tokens.bpe import BPE
from lib.tokens.layout import Padding, Template, Truncation
from tests.tokens.corpus import ENGLISH, TEXTS
from tests.tokens.twins import SPECIALS, columns, rust_of

BERT = Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
SWAPPED = Template("$A", "[CLS] $B:1 [SEP] $A")
PLAIN = BPE.train([ENGLISH], 400, specials=SPECIALS)
PAIRS = [
    ("To be", "or not to be"),
    ("one", "two three four five six"),
    ("a b c d e f g", "h"),
    ("1 2 3 4 5", "6 7 8 9 0"),
    ("a b c d", "a b c d"),
    ("", "x"),
    ("", ""),
]


def build(**shared) -> BPE:
    return BPE(PLAIN.pieces, PLAIN.merges, specials=SPECIALS, **shared)


def test_special_tokens_in_a_text_are_never_split():
    tokenizer = build()
    text = "x<|end|>y [SEP][PAD]<|end|<|end|>"
    assert columns(tokenizer.encode(text)) == columns(rust_of(tokenizer).encode(text))
    assert tokenizer.encode("x<|end|>y").offsets == [(0, 1), (1, 8), (8, 9)]
    assert tokenizer.encode("x<|end|>y").special == [0, 0, 0]


def test_of_two_special_tokens_the_longer_is_found():
    tokenizer = BPE([*PLAIN.pieces, "<|end|>ing"], PLAIN.merges, specials=[*SPECIALS, "<|end|>ing"])
    assert (
        tokenizer.encode("<|end|>ing").ids
        == [tokenizer.id_of("<|end|>ing")]
        == rust_of(tokenizer).encode("<|end|>ing").ids
    )


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("template", [None, BERT, Template("$A [SEP]", "$B:1 [SEP] $A:2")])
def test_pairs(template, special):
    tokenizer = build(template=template)
    theirs = rust_of(tokenizer)
    for a, b in PAIRS:
        assert columns(tokenizer.encode(a, b, special=special)) == columns(
            theirs.encode(a, b, add_special_tokens=special)
        )
        assert columns(tokenizer.encode(a, special=special)) == columns(theirs.encode(a, add_special_tokens=special))


def test_decoding_leaves_special_tokens_out_unless_asked():
    tokenizer = build(template=BERT)
    ids = tokenizer.encode("To be", "or not").ids
    assert tokenizer.decode(ids) == "To beor not"
    assert tokenizer.decode(ids, special=True) == "[CLS]To be[SEP]or not[SEP]"
    assert tokenizer.decode_batch([ids, ids[:1]]) == ["To beor not", ""]


def outcome(f, *args, **kwargs):
    """What a call gives, or that it refuses: ours with a ValueError, theirs with an Exception or a panic."""
    try:
        return columns(f(*args, **kwargs))
    except BaseException as error:
        if isinstance(error, ValueError) or type(error) is Exception or type(error).__name__ == "PanicException":
            return "refused"
        raise


@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("stride", [0, 1, 4])
def test_truncation(strategy, side, stride):
    for length, template in itertools.product(range(3, 20), (None, BERT, SWAPPED)):
        tokenizer = build(template=template, truncation=Truncation(length, strategy, side, stride))
        theirs = rust_of(tokenizer)
        for texts in [*PAIRS, *((a,) for a, _ in PAIRS)]:
            assert outcome(tokenizer.encode, *texts) == outcome(theirs.encode, *texts), (length, texts)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("length", "multiple"), [(None, None), (None, 8), (12, None), (12, 5), (0, None)])
def test_padding(side, length, multiple):
    tokenizer = build(template=BERT, padding=Padding("[PAD]", length, side, multiple, kind=3))
    theirs = rust_of(tokenizer)
    assert list(map(columns, tokenizer.encode_batch(PAIRS))) == list(map(columns, theirs.encode_batch(PAIRS)))
    assert columns(tokenizer.encode("To be")) == columns(theirs.encode("To be"))
    assert tokenizer.encode_batch([]) == []


def test_what_overflows_has_the_types_of_the_template():
    """In the Rust library it keeps 0 for the first text and 1 for the second, whatever the template says."""
    t5 = Template("$A [SEP]", "$A [SEP] $B [SEP]")
    tokenizer = build(template=t5, truncation=Truncation(6))
    ours, theirs = (f.encode("To be", "or not to be") for f in (tokenizer, rust_of(tokenizer)))
    assert ours.types == theirs.type_ids == [0] * 6
    assert [part.ids for part in ours.overflowing] == [part.ids for part in theirs.overflowing]
    assert {kind for part in ours.overflowing for kind in part.types} == {0}
    assert {kind for part in theirs.overflowing for kind in part.type_ids} == {0, 1}


def test_padding_fills_what_overflows_too():
    tokenizer = build(template=BERT, truncation=Truncation(6, stride=1), padding=Padding("[PAD]", None, "left", 4))
    texts = ["or not to be or not", "To be"]
    ours, theirs = tokenizer.encode_batch(texts), rust_of(tokenizer).encode_batch(texts)
    assert list(map(columns, ours)) == list(map(columns, theirs))
    assert {len(part) for encoding in ours for part in [encoding, *encoding.overflowing]} == {8}


def test_batches_of_texts():
    tokenizer = build(template=BERT, truncation=Truncation(30), padding=Padding("[PAD]"))
    theirs = rust_of(tokenizer)
    assert list(map(columns, tokenizer.encode_batch(TEXTS))) == list(map(columns, theirs.encode_batch(TEXTS)))


def test_an_encoding_can_be_changed_without_changing_the_next():
    tokenizer = build(template=BERT)
    first = tokenizer.encode("To be")
    kept = copy.deepcopy(first)
    first.ids.append(0)
    first.offsets.clear()
    assert tokenizer.encode("To be") == kept


def test_a_special_token_that_is_no_piece_is_refused():
    with pytest.raises(ValueError, match=r"special token '<mask>' is not in the vocabulary"):
        BPE(PLAIN.pieces, PLAIN.merges, specials=["<mask>"])
    with pytest.raises(ValueError, match="cannot be the empty text"):
        BPE(["", *PLAIN.pieces], PLAIN.merges, specials=[""])


def test_a_template_or_padding_with_an_unknown_token_is_refused():
    with pytest.raises(ValueError, match=r"puts in '\[MASK\]', which is not one of the specials"):
        build(template=Template("[MASK] $A"))
    with pytest.raises(ValueError, match=r"Padding uses '<pad>', which is not in the vocabulary"):
        build(padding=Padding("<pad>"))


@pytest.mark.parametrize("single", ["", "[CLS]", "$A $A", "$A $B"])
def test_a_template_without_its_text_is_refused(single):
    with pytest.raises(ValueError, match=r"should hold each of \$A once"):
        Template(single)


def test_a_piece_twice_is_refused():
    with pytest.raises(ValueError, match=r"more than once: \['!'\]"):
        BPE([*PLAIN.pieces, "!"], PLAIN.merges)


@pytest.mark.parametrize("id", [-1, len(PLAIN)])
def test_an_id_out_of_range_is_refused(id):
    with pytest.raises(ValueError, match=f"no piece with id {id}: ids go from 0 to 399"):
        PLAIN.decode([5, id])


@pytest.mark.parametrize("text", [b"bytes", None, ["a"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(TypeError, match="encodes text, of type str"):
        PLAIN.encode(text)


def test_an_unknown_piece_is_refused():
    with pytest.raises(KeyError, match="'zzz' is not in the vocabulary of 400 pieces"):
        PLAIN.id_of("zzz")


def test_impossible_truncation_and_padding_are_refused():
    with pytest.raises(ValueError, match=r"leaves no room for 3 special tokens"):
        build(template=BERT, truncation=Truncation(2)).encode("a", "b")
    with pytest.raises(ValueError, match="the other text alone is too long"):
        build(truncation=Truncation(2, "only_first")).encode("To be", "or not to be or not")
    with pytest.raises(ValueError, match="needs a pair"):
        build(truncation=Truncation(2, "only_second")).encode("to be or not to be")
    with pytest.raises(ValueError, match="strategy is 'longest'; known are longest_first"):
        Truncation(2, "longest")
    with pytest.raises(ValueError, match="at least one piece"):
        Truncation(0)
    with pytest.raises(ValueError, match="stride of truncation is 0 or more; it is -1"):
        Truncation(4, stride=-1)
    with pytest.raises(ValueError, match="stride of 4 needs longer parts; truncation leaves 4 pieces of a text"):
        build(truncation=Truncation(4, stride=4)).encode("or not to be or not")
    with pytest.raises(ValueError, match="side is 'top'; known are right, left"):
        Padding("[PAD]", side="top")
    with pytest.raises(ValueError, match="multiple is 0"):
        Padding("[PAD]", multiple=0)
