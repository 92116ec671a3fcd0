"""Truth that nobody knows of some cases: NaN, and such an entry counts neither for nor against."""

from typing import Any

import numpy as np


def is_known(truth: np.ndarray) -> np.ndarray:
    """Bool, shape of the truth, which is bool or 0, 1 and NaN."""
    truth = np.asarray(truth)
    return ~np.isnan(truth) if truth.dtype.kind == "f" else np.ones(truth.shape, bool)


def only_known(truth: np.ndarray, *others: Any) -> tuple[Any, ...]:
    """A truth (n,) as bool without its unknown entries, and of arrays (..., n) the same entries; None stays None."""
    truth = np.asarray(truth)
    known = is_known(truth)
    if known.all():
        return truth.astype(bool), *others
    return truth[known].astype(bool), *(
        None if other is None else np.asarray(other)[..., known] for other in others
    )
