"""A case: one image or volume with its label, as found on disk, before anything is read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medcli.boxes import Boxes


@dataclass(frozen=True)
class Source:
    """Where one image lies: a file, a folder that holds one DICOM series, or a part of either.

    Attributes:
        path: File or folder.
        part: What within it, when it holds several: "train_images[12]" in an `.npz`, a SeriesInstanceUID in a folder;
            "" for the whole.
    """

    path: Path
    part: str = ""


@dataclass(frozen=True)
class Case:
    """Attributes:
    name: Unique in its data set and safe as a file name.
    images: One source per input channel group (usually one), all on one grid after reading.
    patient: Patients, not cases, are split; the case's own name when nothing else is known.
    groups: Columns to report by (sex, age, site, ...), as text; "" when missing.
    split: "train", "val" or "test" when the data say so, else None.
    classes: Classification: the class names that apply (one, or several when multi-label). Detection from masks: the
        class of each mask file, where the files tell it.
    clinical: Column to text of the columns that the network sees beside the image; "" when missing.
    unknown: Classification with several labels: the class names of which nobody said whether they apply.
    boxes: Detection: the true boxes in pixels of the image; None when the case has no annotation at all, which is
        not the same as an image known to be empty, or when they are those of the objects in `masks`.
    target: Regression: the number to predict, in its own unit; None when unknown.
    masks: Segmentation: label files; one with ids, or several binary ones in the order of the classes. Detection: files
        whose objects are to be found.
    """

    name: str
    images: tuple[Source, ...]
    patient: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    classes: tuple[str, ...] = ()
    boxes: Boxes | None = None
    masks: tuple[Source, ...] = ()
    unknown: tuple[str, ...] = ()
    clinical: Mapping[str, str] = field(default_factory=dict)
    target: float | None = None

    def shows(self, classes: Sequence[str]) -> list[float]:
        """1 where a class applies, 0 where it does not, NaN where it is unknown."""
        return [
            1.0 if name in self.classes else math.nan if name in self.unknown else 0.0 for name in classes
        ]


@dataclass(frozen=True)
class Problem:
    """A case left out, or a fault in one that was kept.

    Attributes:
        case: Its name, or "" when the file belongs to none.
        file: The file, relative to `data.root` where it lies below it.
        reason: One sentence: what was expected, what was found, what to do. Never a patient's data.
        left_out: False when the case is used all the same (a warning).
    """

    case: str
    file: str
    reason: str
    left_out: bool = True
