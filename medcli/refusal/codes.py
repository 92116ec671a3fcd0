"""Why a case is referred to a person: every code of the column `refer`, and what it says."""

from medcli.calibration import REASONS as LABEL_REASONS

GATE_REASONS = {
    "modality": "another modality than in training",
    "color": "another number of channels than in training, or colours where there were none",
    "spacing": "finer or coarser than any training image, or no spacing where all had one",
    "size": "much larger or smaller than any training image",
    "constant": "all values are the same, or none is a number",
    "inverted": "dark and bright are exchanged",
    "intensity": "values out of the range of the training images, such as another unit",
}
"""Told by the image alone, before the network."""
CASE_REASONS = {
    "not_like_training": "the network's features are unlike those of the training images",
    "low_quality": "the result is expected to be worse than is usual, or than asked for",
    "empty_prediction": "nothing was segmented, which hardly ever is right",
}
"""Told by what the network says."""
REASONS = {**GATE_REASONS, **CASE_REASONS, **LABEL_REASONS}
