"""A training loop that never loses work: a plain PyTorch loop around Lightning Fabric.

    TrainConfig(steps=1000, batch=64, lr=1e-3, ...)     every setting of the loop, each checked
    Task(model, train, loss, evaluate)                  what is trained, on what, and how it is scored
    TensorExamples(x, y, transform=None)                examples that lie in tensors
    fit(task, config, folder=None, resume=False, ...)   -> Result(step, metrics, history, ...)

The order of the examples, the rate of every step and the random numbers of every batch follow from the seed and the
step alone, so a run that was killed goes on exactly where its last checkpoint stands.

`import lib.train` imports torch; Lightning is imported by `fit`.
"""

from lib.train.best import Best
from lib.train.checkpoint import CheckpointError
from lib.train.config import ConfigError, TrainConfig, build
from lib.train.guard import NonFiniteLoss
from lib.train.loop import Result, fit
from lib.train.schedule import rate
from lib.train.stop import Interrupted
from lib.train.task import Examples, Task, TensorExamples
from lib.train.weights import load_weights

__all__ = [
    "Best",
    "CheckpointError",
    "ConfigError",
    "Examples",
    "Interrupted",
    "NonFiniteLoss",
    "Result",
    "Task",
    "TensorExamples",
    "TrainConfig",
    "build",
    "fit",
    "load_weights",
    "rate",
]
