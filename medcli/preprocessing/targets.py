"""The numbers that a regression predicts: how they are spread, how they are scaled, how cases are divided by them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcli.errors import DataError
from medcli.preprocessing.plan import Target

STRATA, FEWEST = 5, 10
"""Fifths of the target, fewer where one would hold less than so many cases."""
FIFTHS = "fifths of the target"
"""What is kept in like proportion, in words."""
LEVELS = {"min": 0, "p10": 10, "median": 50, "p90": 90, "max": 100}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """n, mean, standard deviation (n), and percentiles, for the fingerprint; {} for no values."""
    if not len(values):
        return {}
    table = np.asarray(values, float)
    percentiles = {name: float(np.percentile(table, level)) for name, level in LEVELS.items()}
    return {"n": len(table), "mean": float(table.mean()), "sd": float(table.std()), **percentiles}


def settle_target(name: str, values: Sequence[float]) -> Target:
    """How the target is scaled, from the values of the training cases.

    Raises DataError when they are all the same, so that there is nothing to learn.
    """
    found = spread(values)
    if not found or found["min"] == found["max"]:
        raise DataError(
            f"All training cases have the same number in the column {name} (data.columns.target); regression needs at "
            "least two different ones. Check data.split."
        )
    return Target(
        name=name, cases=found["n"], mean=found["mean"], sd=found["sd"], low=found["min"], high=found["max"]
    )


def fifths(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """(n,) int, from 0: which fifth of all each value is in; equal values are in the same one.

    Example:
        >>> fifths([10.0] * 10 + [20.0] * 10).tolist() == [0] * 10 + [1] * 10
        True
    """
    table = np.asarray(values, float)
    count = int(np.clip(len(table) // FEWEST, 1, STRATA))
    edges = np.quantile(table, np.arange(1, count) / count) if count > 1 else np.empty(0)
    return np.searchsorted(edges, table, side="left")


def strata(values: Sequence[float]) -> list[str]:
    """The fifths, as text."""
    return [f"fifth {place + 1}" for place in fifths(values)]
