"""Objects found against true ones."""

import numpy as np

from medcli.instances.decode import Objects
from medcli.metrics.instances import Matched, match_objects
from medcli.preprocessing.instances import classes_of, true_objects
from medcli.preprocessing.labels import IGNORE


def compare(label: np.ndarray, found: Objects, num_classes: int) -> list[Matched]:
    """Match class by class what was found in an image with what is in a packed array of its shape."""
    truth, classes = true_objects(label)
    found = judged(label, found)
    return match_objects(truth, classes, found.ids, found.classes, found.scores, num_classes)


def judged(label: np.ndarray, found: Objects) -> Objects:
    """What was found where the truth is known; an object that lies whole where it is ignored is not there."""
    ignored = classes_of(label) == IGNORE
    if not ignored.any():
        return found
    left = Objects(np.where(ignored, 0, found.ids), found.classes, found.scores)
    return left.take(left.sizes > 0)
