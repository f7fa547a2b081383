"""A run that kills itself (SIGKILL) at a chosen moment: `python -m tests.train.killed FOLDER MOMENT`.

Moments are counted: each batch asked for, and in each file written the place after half of it, before it is synced,
before a folder is synced, and before each rename and each removal. MOMENT 0 lives to the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import torch

from lib import files
from lib.train import fit
from tests.train import small


class Moments:
    """Counts moments; at the fatal one the process is gone."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.kinds = fatal, []

    def __call__(self, kind: str) -> None:
        self.kinds.append(kind)
        if len(self.kinds) == self.fatal:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows: ends it as abruptly

    def before(self, kind: str, call):
        """The call, with a moment before it."""

        def counted(*arguments, **settings):
            self(kind)
            return call(*arguments, **settings)

        return counted


def run(folder: Path, fatal: int) -> None:
    """Go on with the run in a folder. If it lives, the kinds of all moments are in kinds.txt beside it."""
    torch.set_num_threads(1)
    moment, task = Moments(fatal), small.task()
    real = files.write

    def write(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            moment("half a file")
        return real(path, data)

    files.write = write
    files.sync = moment.before("sync", files.sync)
    os.rename, os.replace = moment.before("rename", os.rename), moment.before("replace", os.replace)
    shutil.rmtree = moment.before("remove", shutil.rmtree)
    task.train.batch = moment.before("batch", task.train.batch)
    fit(task, small.CONFIG, folder, resume=True, show="none")
    (folder.parent / "kinds.txt").write_text("\n".join(moment.kinds))


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
