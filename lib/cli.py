"""The `course` command. Each command is a few lines over the module that does the work, imported only then."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="From Perceptron to GPT.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
store = typer.Typer(help="The data sets: where they are, fetch them, check them.", no_args_is_help=True)
app.add_typer(store, name="data")

Names = Annotated[list[str] | None, typer.Argument(help="Data sets, such as ylecun/mnist; all where none is named.")]
Config = Annotated[str, typer.Argument(help="A YAML file, or a name in configs/.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="key=value, such as train.lr=0.1.")]


def fail(message: object) -> typer.Exit:
    """Say what is wrong; the exit code is 1."""
    typer.echo(str(message), err=True)
    return typer.Exit(1)


@app.command()
def doctor() -> None:
    """Look at Python, packages, machine, data and disk, and name what mends a problem."""
    from lib.doctor import examine, report

    findings = examine()
    typer.echo(report(findings))
    if any(finding.mend for finding in findings):
        raise typer.Exit(1)


@app.command()
def run(
    numbers: Annotated[
        list[str] | None, typer.Argument(help="Chapters, such as 10 13; all where none is given.")
    ] = None,
) -> None:
    """Run notebooks from top to bottom, and say what each took. Stores nothing."""
    from lib import runner

    try:
        runs = [runner.run(path) for path in runner.chapters(numbers or ())]
    except runner.ChapterError as error:
        raise fail(error) from None
    for each in runs:
        typer.echo(runner.line(each))
    if any(each.error for each in runs):
        raise typer.Exit(1)


@app.command()
def tokenizer(config: Config, changes: Changes = None) -> None:
    """Train the tokenizer that a configuration needs, where it needs one of its own."""
    from lib import recipe
    from lib.data import DataError
    from lib.train import ConfigError

    try:
        typer.echo(f"Kept in {recipe.tokenizer(recipe.read(config, changes or ()))}.")
    except (ConfigError, DataError, OSError) as error:
        raise fail(error) from None


@app.command()
def train(
    config: Config,
    changes: Changes = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    allow_changes: Annotated[bool, typer.Option("--allow-changes", help="Go on with other settings.")] = False,
) -> None:
    """Train a model as a small YAML file says. Every field is checked before anything starts."""
    from lib import recipe
    from lib.data import DataError
    from lib.train import CheckpointError, ConfigError, NonFiniteLoss

    try:
        plan = recipe.read(config, changes or ())
        result = recipe.train(plan, resume, allow_changes)
    except (ConfigError, DataError, CheckpointError, NonFiniteLoss) as error:
        raise fail(error) from None
    except KeyboardInterrupt as stop:
        typer.echo(f"{stop or 'Stopped.'}\nTo go on: {_again(config, changes or [])}", err=True)
        raise typer.Exit(130) from None
    if result.rank:  # of several processes the first one speaks
        return
    typer.echo("  ".join([f"step {result.step}", *(f"{name} {value:.4f}" for name, value in result.metrics.items())]))
    typer.echo(f"Kept in {plan.folder}.")
    if result.unsaved:
        raise fail("Not everything could be saved:\n" + "\n".join(result.unsaved))


def _again(config: str, changes: list[str]) -> str:
    """The command that goes on with a run, as a shell reads it."""
    return shlex.join(["course", "train", config, *(part for each in changes for part in ("--set", each)), "--resume"])


@app.command()
def progress(
    merge: Annotated[list[Path] | None, typer.Option(help="Progress files of a group; name more after it.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Show which exercises are done; with --merge FILES, those of a group side by side."""
    from lib.checks import progress as kept

    if more and not merge:
        raise fail("Files are for --merge: course progress --merge anna.json ben.json")
    if merge and not any(path.is_file() for path in [*merge, *(more or [])]):
        raise fail(
            "None of these files is there. A learner's file is progress.json in $COURSE_HOME or ~/.perceptron-to-gpt."
        )
    try:
        typer.echo(kept.merge([*merge, *(more or [])]) if merge else kept.table())
    except (OSError, ValueError) as error:
        raise fail(error) from None


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A model of the family, such as bert.")],
    second: Annotated[str, typer.Argument(help="Another, such as roberta.")],
) -> None:
    """Show what differs between two models of the family: sizes apart from choices."""
    from lib import spec

    try:
        typer.echo(spec.diff(first, second))
    except ValueError as error:
        raise fail(error) from None


@app.command()
def tree(
    root: Annotated[str, typer.Argument(help="A model whose descendants to show; all where none is named.")] = "",
) -> None:
    """Show the family of models: each below the one that it comes from."""
    from lib import spec

    try:
        typer.echo(spec.tree(root))
    except ValueError as error:
        raise fail(error) from None


@store.command("list")
def list_() -> None:
    """Every data set of the course, and where it comes from on this machine."""
    from lib import data

    rows = [data.status(name) for name in data.CATALOG]
    width = max(len(row.name) for row in rows)
    for row in rows:
        typer.echo(f"{row.name:<{width}}  {row.what}\n{'':<{width}}  {'here, ' if row.ready else ''}{row.source}")
        if row.note:
            typer.echo(f"{'':<{width}}  note: {row.note}")


@store.command()
def fetch(
    names: Names = None, core: Annotated[bool, typer.Option(help="What the first chapters need.")] = False
) -> None:
    """Bring data sets to this machine."""
    from lib import data

    wanted = [name for name, entry in data.CATALOG.items() if entry.core] if core else names
    if not wanted:
        raise fail("Name the data sets to fetch, or say --core. `course data list` shows them all.")
    _each(wanted, data.fetch)


@store.command()
def verify(names: Names = None) -> None:
    """Compare the checksum of every file that is here with the one in the catalogue."""
    from lib import data

    def check(name: str) -> str:
        files = data.verify(name)
        return f"right: {', '.join(map(str, files))}" if files else "no files of its own here"

    _each(names or list(data.CATALOG), check)  # also what is not available: a wrong file is just that


def _each(names: list[str], action: Callable[[str], str]) -> None:
    """Do one thing to each data set: a failure is said, and does not keep the others from their turn."""
    from lib.data import DataError

    failed = False
    for name in names:
        try:
            typer.echo(f"{name}: {action(name)}")
        except (DataError, OSError) as error:
            failed = True
            typer.echo(f"{name}: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def main() -> None:
    """What the `course` script calls."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a Windows console may lack a sign
    app()


if __name__ == "__main__":
    main()
