"""The small BERT in three commands, on documents of a few sentences; and that it leaves for transformers."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from typer.testing import CliRunner

from lib import recipe
from lib.cli import app
from lib.load import from_pretrained
from lib.pretrain.masking import IGNORE
from lib.tasks import bert_classify, bert_pretrain
from lib.train import ConfigError

TOPICS = ("rain cloud storm sky", "goal team match score", "bank price share profit")
SMALL = {
    "options.n_vocab": 120, "options.n_context": 24, "options.n_layers": 1, "options.n_heads": 2, "options.d_model": 8,
    "options.n_passes": 2, "options.further": '""', "train.steps": 3, "train.batch": 8, "train.warmup": 1,
}  # fmt: skip
CLASSIFY = {"train.steps": 2, "train.batch": 4, "train.warmup": 1, "options.n_context": 12}


def document(number: int) -> str:
    words = TOPICS[number % 3].split()
    said = [f"The {words[(number + i) % 4]} of day {number} was {words[i % 4]}." for i in range(6)]
    return "A headline\n" + " ".join(said)


CORPUS = DatasetDict(
    train=Dataset.from_dict({"text": [document(n) for n in range(40)] + [document(42)]}),
    test=Dataset.from_dict({"text": [document(42), document(43)]}),
)
REVIEWS = {"sentence": ["a fine film", "a dull film", "fine and quick", "dull , slow"], "label": [1, 0, 1, 0]}
FILMS = DatasetDict({part: Dataset.from_dict(REVIEWS) for part in ("train", "validation", "test")})
REVIEWED = "stanfordnlp/imdb"
LONGER = DatasetDict(train=Dataset.from_dict({"text": ["Of five ★ it has two.<br /><br />A fine ★ film. Go."] * 3}))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in, and small data in place of the real."""
    monkeypatch.chdir(tmp_path)
    data = {bert_pretrain.NAME: CORPUS, bert_classify.NAME: FILMS, REVIEWED: LONGER}
    for module in (bert_pretrain, bert_classify):
        monkeypatch.setattr(module, "load", data.__getitem__)
    return tmp_path


def course(command, config, settings):
    """Run a command; returns its exit code and all that it said."""
    changes = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    result = CliRunner().invoke(app, [command, config, *changes])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def plan(config="bert-mini", **changes):
    settings = (SMALL if config == "bert-mini" else CLASSIFY) | {f"options.{k}": v for k, v in changes.items()}
    return recipe.read(config, [f"{name}={value}" for name, value in settings.items()])


def pretrained():
    """The first two commands."""
    for command in ("tokenizer", "train"):
        code, said = course(command, "bert-mini", SMALL)
        assert code == 0, said
    return Path("runs/bert-mini/model")


def test_three_commands_and_transformers_reads_what_they_leave():
    from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer

    folder = pretrained()
    code, said = course("train", "bert-mini-sst2", CLASSIFY)
    assert code == 0 and "accuracy" in said, said

    ours, theirs = from_pretrained(folder), AutoModelForPreTraining.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("The storm was rain.", "A team.", return_tensors="pt")
    mine = bert_pretrain.read_tokenizer("runs/bert-mini/tokenizer.json").encode("The storm was rain.", "A team.")
    assert encoded["input_ids"][0].tolist() == mine.ids
    assert encoded["token_type_ids"][0].tolist() == mine.types
    with torch.no_grad():
        tokens, pairs = ours(encoded["input_ids"], encoded["token_type_ids"])
        answer = theirs(**encoded)
        words = AutoModelForMaskedLM.from_pretrained(folder).eval()(**encoded).logits
    torch.testing.assert_close(tokens, answer.prediction_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(pairs, answer.seq_relationship_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens, words, atol=1e-5, rtol=0)


def test_only_the_gaps_are_answered_and_as_the_whole_model_would():
    pretrained()
    task = plan(held="tuning", w_pairs=0.25).make()
    batch = task.train.batch(range(6), torch.Generator().manual_seed(0))
    x, kinds, lengths, y, labels = batch
    model = bert_pretrain.Model(task.model.spec)
    model.load_state_dict(task.model.state_dict())
    tokens, pairs = model(x, kinds, bert_pretrain.padding(lengths))
    total, count = task.loss(task.model, batch)
    gaps = torch.nn.functional.cross_entropy(tokens.flatten(0, 1), y.flatten(), ignore_index=IGNORE)
    follows = torch.nn.functional.cross_entropy(pairs, labels, ignore_index=IGNORE)
    assert count == (y != IGNORE).sum()
    torch.testing.assert_close(total / count, gaps + 0.25 * follows)


def test_sentences_that_stand_alone_are_asked_no_pair():
    pretrained()
    rows = plan().make().train
    asked = rows.labels != IGNORE
    assert 0 < int((~asked).sum()) < len(rows)
    assert set(rows.labels[asked].tolist()) == {0, 1}
    assert (plan(sentences='""').make().train.labels != IGNORE).all()


def test_fine_tuning_begins_with_what_was_learned_or_with_nothing():
    folder = pretrained()
    old = from_pretrained(folder)
    model, anew = (plan("bert-mini-sst2", init=init).make().model.encoder.model for init in ("pretrained", "scratch"))
    for name, tensor in old.body.state_dict().items():
        assert torch.equal(model.body.state_dict()[name], tensor), name
    assert anew.spec == model.spec
    assert not torch.equal(anew.body.embed.tokens.weight, model.body.embed.tokens.weight)


def test_the_further_sentences_are_read_as_often_as_one_says():
    assert course("tokenizer", "bert-mini", SMALL)[0] == 0
    once, thrice = ((plan(n_repeats=n).make().train.labels == IGNORE).sum() for n in (1, 3))
    assert 2 * once <= thrice <= 4 * once and once > 0


def test_further_documents_are_read_once_for_the_gaps_alone_and_by_the_tokenizer():
    assert course("tokenizer", "bert-mini", SMALL | {"options.further": REVIEWED})[0] == 0
    tokenizer = bert_pretrain.read_tokenizer("runs/bert-mini/tokenizer.json")
    assert "★" in tokenizer.pieces and "<" not in tokenizer.pieces
    star = tokenizer.id_of("★")
    for n_passes in (1, 3):
        rows = plan(n_passes=n_passes, further=REVIEWED).make().train
        assert int((rows.ids == star).sum()) == 6, "two in each of three reviews, however often the news is read"
        assert (rows.labels[(rows.ids == star).any(dim=1)] == IGNORE).all()
    assert not (plan().make().train.ids == star).any()


def test_nothing_is_watched_on_the_test_split():
    pretrained()
    assert plan(held="tuning").make().watch and not plan(held="test").make().watch
    assert plan("bert-mini-sst2", held="validation").make().watch
    assert not plan("bert-mini-sst2", held="test").make().watch


def test_no_document_is_trained_on_and_scored():
    train, held = bert_pretrain.documents(plan(held="test").options)
    assert held == CORPUS["test"]["text"]
    assert sorted(train) == sorted(document(n) for n in range(40))  # one of the test's is in the training split too
    train, held = bert_pretrain.documents(plan(held="tuning").options)
    assert sorted({*train, *held}) == sorted(CORPUS["train"]["text"])
    assert held and not {*train} & {*held} and not {*held} & {*CORPUS["test"]["text"]}


def test_a_stream_brings_the_same_documents_in_an_order_of_its_seed():
    kept, _ = bert_pretrain.documents(plan(held="test").options)
    streams = [bert_pretrain.documents(plan(held="test", streaming=True, n_buffer=7).options, n)[0] for n in (0, 0, 1)]
    assert streams[0] == streams[1] != streams[2]
    assert all(sorted(stream) == sorted(kept) and stream != kept for stream in streams)
    few, _ = bert_pretrain.documents(plan(held="test", streaming=True, n_documents=5).options)
    assert len(few) in (4, 5) and {*few} < {*kept}


def test_a_corpus_that_does_not_fit_is_said(monkeypatch):
    wrong = {
        "other": DatasetDict(train=CORPUS["train"].rename_column("text", "body"), test=CORPUS["test"]),
        "no test": DatasetDict(train=CORPUS["train"]),
        "stream": {part: CORPUS[part].to_iterable_dataset() for part in CORPUS},
    }
    monkeypatch.setattr(bert_pretrain, "load", wrong.__getitem__)
    for name, said in (("other", "a column 'text'"), ("no test", "a split 'test'"), ("stream", "set options.n_doc")):
        with pytest.raises(ConfigError, match=said):
            bert_pretrain.documents(plan(corpus=name, held="test").options)
    train, held = bert_pretrain.documents(plan(corpus="stream", held="test", n_documents=3).options)
    assert (len(train), len(held)) == (3, 2)


def test_whole_words():
    pretrained()
    rows = plan(whole_words=True, p_masked=0.5).make().train
    for number in range(5):
        _, _, _, y, _ = rows.batch(range(len(rows)), torch.Generator().manual_seed(number))
        inside = rows.continues[rows.ids[:, 1:].long()]  # a piece goes on with the word of the one before it,
        inside &= ~rows.special[:, :-1]  # unless the word was cut where the row begins
        chosen = y != IGNORE
        assert bool(inside.any())
        assert bool((chosen[:, 1:] == chosen[:, :-1])[inside].all())


def test_what_is_missing_is_said_with_the_command_that_makes_it():
    code, said = course("train", "bert-mini", SMALL)
    assert code == 1 and "`course tokenizer bert-mini` writes it" in said
    code, said = course("train", "bert-mini-sst2", CLASSIFY)
    assert code == 1 and "`course train bert-mini` writes one" in said
    code, said = course("tokenizer", "lenet-mnist", {})
    assert code == 1 and "has no tokenizer to train" in said
    assert course("tokenizer", "bert-mini", SMALL)[0] == 0
    code, said = course("tokenizer", "bert-mini", SMALL)
    assert code == 1 and "is there already" in said
    with pytest.raises(ConfigError, match="n_context"):
        plan(n_context=4)


def test_a_model_that_cannot_be_written_is_said(monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    course("tokenizer", "bert-mini", SMALL)
    monkeypatch.setattr(bert_pretrain, "save_pretrained", full)
    code, said = course("train", "bert-mini", SMALL)
    assert code == 1 and "No space left on device" in said and "step 3" in said
