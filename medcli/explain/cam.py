"""Class activation maps: where a layer's activations speak for an answer.

All take a layer's activations and the gradients of the log odds by them, (spatial + channel) float, and give
(spatial) float32 of 0 and more on the layer's grid.
"""

import numpy as np


def gradcam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """A channel weighs what its gradient is on average. Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2."""
    weights = gradients.mean(axis=_space(gradients))
    return _positive(activations @ weights)


def gradcam_plus_plus(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Only where a gradient is positive it counts, and more so where few places carry the evidence.

    Chattopadhay et al. 2018, "Grad-CAM++", equations 5 and 19, for the answer exp(log odds), whose higher
    derivatives are powers of the gradient.
    """
    square = gradients.astype(np.float64) ** 2
    total = activations.sum(axis=_space(activations), dtype=np.float64)
    below = 2 * square + total * square * gradients
    alpha = np.divide(square, below, out=np.zeros_like(square), where=np.abs(below) > 1e-30)
    weights = (alpha * np.maximum(gradients, 0)).sum(axis=_space(gradients))
    return _positive(activations @ weights)


def layercam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Every place weighs by its own gradient. Jiang et al. 2021, "LayerCAM", equations 5 and 6."""
    return _positive((activations * np.maximum(gradients, 0)).sum(axis=-1))


CAMS = {"gradcam": gradcam, "gradcam++": gradcam_plus_plus, "layercam": layercam}


def _space(array: np.ndarray) -> tuple[int, ...]:
    return tuple(range(array.ndim - 1))


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0).astype(np.float32)
