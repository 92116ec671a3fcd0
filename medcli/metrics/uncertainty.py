"""How unsure probabilities are."""

import numpy as np


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """float32 (...) Shannon entropy in bits of probabilities (..., k): 0 when sure, log2(k) when all are alike.

    >>> entropy(np.array([0.5, 0.5])).item()
    1.0
    """
    total = np.zeros(probabilities.shape[:-1], np.float32)
    for index in range(probabilities.shape[-1]):  # class by class: no array of the size of all
        chance = np.maximum(probabilities[..., index], np.float32(1e-12))
        total -= chance * np.log2(chance)
    return np.maximum(total, 0)


def entropy_of_each(probabilities: np.ndarray) -> np.ndarray:
    """float32 (...) sum over k of the entropies in bits of probabilities (..., k) of independent events.

    >>> entropy_of_each(np.array([0.5, 0.5])).item()
    2.0
    """
    chances = (probabilities[..., index] for index in range(probabilities.shape[-1]))
    return sum((entropy(np.stack([1 - one, one], -1)) for one in chances), np.zeros((), np.float32))
