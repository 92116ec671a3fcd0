"""How near decisions about grades come: classes that have an order.

Both take a confusion matrix (..., k, k), row the true grade, column the predicted one, lowest first.
"""

import numpy as np

from medcli.metrics.bootstrap import divide


def weighted_kappa(confusion: np.ndarray) -> np.ndarray:
    """Quadratically weighted kappa (...): 1 - squared steps off, over those of chance with the same margins.

    Cohen 1968, Psychol. Bull. 70:213-220. 1 is perfect, 0 chance; NaN when truth and decision are the same grade
    throughout.
    """
    grades = np.arange(confusion.shape[-1])
    cost = (grades[:, None] - grades) ** 2
    total = confusion.sum((-2, -1))
    chance = confusion.sum(-1)[..., :, None] * confusion.sum(-2)[..., None, :]
    return 1 - divide((confusion * cost).sum((-2, -1)) * total, (chance * cost).sum((-2, -1)))


def steps_off(confusion: np.ndarray) -> np.ndarray:
    """Mean absolute error (...) in grades."""
    grades = np.arange(confusion.shape[-1])
    cost = np.abs(grades[:, None] - grades)
    return divide((confusion * cost).sum((-2, -1)), confusion.sum((-2, -1)))
