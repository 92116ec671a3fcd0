"""What is said of a feature: name, unit, definition, and its code in the IBSI reference manual."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medcli.config.schema import Features

if TYPE_CHECKING:
    from medcli.features.region import Region


@dataclass(frozen=True)
class Feature:
    """Attributes:
    name: Unique; the column of the table.
    unit: "1" for pure numbers; "intensity" stands for the unit of the image (HU, SUV, grey level); "length" for mm, or
        pixels where the file does not tell its spacing.
    definition: One line. i, j are grey levels (from 1), p probabilities, N numbers; logarithms are to base 2.
    ibsi: Four-letter code of the IBSI reference manual; "" where IBSI does not define the feature.
    """

    name: str
    unit: str
    definition: str
    ibsi: str = ""


@dataclass(frozen=True)
class Family:
    """Attributes:
    name: As `features.families` calls it.
    source: Where the definitions stand.
    features: In the order of the table's columns.
    compute: From a region (whose intensity mask is not empty) and the settings to a value for every feature; NaN where
        a feature is not defined.
    fits: Whether the family means anything for this region.
    """

    name: str
    source: str
    features: tuple[Feature, ...]
    compute: Callable[["Region", Features], dict[str, float]]
    fits: Callable[["Region"], bool] = lambda region: True
