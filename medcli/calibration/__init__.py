"""What a classifier's run learned from its validation part for use: scaling, thresholds, sizes of label sets.

RUN/validation.csv     case, patient, the truth and the network's own probability of every class
RUN/calibration.json   what follows from it; see `Calibration`

`train` writes both at its end, and the first `evaluate` of a run that has none. The table is kept so that
another aim (`evaluate.threshold`, `evaluate.coverage`, ...) needs no new prediction.
"""

from medcli.calibration.kept import FILE, REASONS, RULES, Asked, Calibration, with_rules
from medcli.calibration.learning import (
    check_group_thresholds,
    fit,
    folds,
    learn,
    learn_after_training,
    positive_index,
)
from medcli.calibration.table import TABLE, Validation, truth_of

__all__ = [
    "FILE",
    "REASONS",
    "RULES",
    "TABLE",
    "Asked",
    "Calibration",
    "Validation",
    "check_group_thresholds",
    "fit",
    "folds",
    "learn",
    "learn_after_training",
    "positive_index",
    "truth_of",
    "with_rules",
]
