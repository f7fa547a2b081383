"""The `course` command with the tests' own tasks beside the real ones: `python -m tests.train.course train FILE`."""

from pathlib import Path

from lib import cli, tasks

tasks.__path__.append(str(Path(__file__).parent / "tasks"))

if __name__ == "__main__":
    cli.main()
