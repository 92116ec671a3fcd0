"""Training: the loop, its state, its optimiser, its length, its log."""

from medcli.training.result import Result
from medcli.training.signals import Stopped
from medcli.training.train import train

__all__ = ["Result", "Stopped", "train"]
