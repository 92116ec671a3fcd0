"""Clinical columns beside an image (`data.clinical`): how text of a table becomes numbers, and how these travel.

Which columns are numbers and which are categories, their scale and their levels are settled once, on the training part,
and kept in the plan. The numbers travel with the image as further channels of one value each (`stamp`), so all that
handles images (batches, mirroring, ensembles, explanations) handles them too; the network takes them off again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from medcli.errors import ConfigError, DataError

Kind = Literal["auto", "numeric", "categorical"]
MISSING = {"", "nan", "na", "n/a", "none", "null", "?", "unknown"}
"""Words for a value that is not known, in any case of letters."""
LIMIT = 4.0
"""Standardised numbers are cut here: what was never seen must not outweigh everything."""
MOST_LEVELS = 50
"""A column of text with more different values is no category."""


class ClinicalColumn(BaseModel):
    """One column.

    Attributes:
        mean, sd: numeric: of the training part, of one value per case.
        levels: categorical: the values of the training part, sorted.
        missing: Whether values were missing in the training part, so that the network could learn what that means;
            else a value that is missing (or a level that is new) is the mean, or none of the levels.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    kind: Literal["numeric", "categorical"]
    mean: float = 0.0
    sd: float = 1.0
    levels: list[str] = []
    missing: bool = False

    @property
    def width(self) -> int:
        """Numbers that a value becomes."""
        return (1 if self.kind == "numeric" else len(self.levels)) + self.missing

    def encode(self, text: str) -> list[float]:
        """The standardised number, or 1 for the level; then 1 when missing, where that was learned.

        Raises DataError for text in a column of numbers.
        """
        text = text.strip()
        if self.kind == "categorical":
            shown = [float(text == level) for level in self.levels]
            return shown + [float(not any(shown))] * self.missing
        value = number(text)
        if value is None:
            return [0.0] + [1.0] * self.missing
        if math.isnan(value):
            raise DataError(
                f"The column '{self.name}' is expected to hold numbers (empty where unknown), found other text."
            )
        return [float(np.clip((value - self.mean) / self.sd, -LIMIT, LIMIT))] + [0.0] * self.missing

    @property
    def in_words(self) -> str:
        how = (
            f"number, mean {self.mean:.4g}, sd {self.sd:.4g}"
            if self.kind == "numeric"
            else f"category of {', '.join(self.levels)}"
        )
        return f"{self.name}: {how}" + (", missing for some" if self.missing else "")


def number(text: str) -> float | None:
    """The finite number that a text says; None: missing; NaN: something else."""
    if text.lower() in MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else None


def settle(
    wanted: Sequence[str] | Mapping[str, Kind], rows: Sequence[Mapping[str, str]]
) -> list[ClinicalColumn]:
    """What each column is, from the values of the training cases.

    auto: numbers where every value that is there is one.

    Raises ConfigError when a column has no value, text where numbers were asked for, or too many levels.
    """
    kinds = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted, "auto")
    return [_column(name, kind, [row.get(name, "").strip() for row in rows]) for name, kind in kinds.items()]


def _column(name: str, kind: str, texts: Sequence[str]) -> ClinicalColumn:
    known = [text for text in texts if text.lower() not in MISSING]
    if not known:
        raise ConfigError(
            f"data.clinical: the column '{name}' is empty for every training case; leave it out."
        )
    missing = len(known) < len(texts)
    values = [number(text) for text in known]
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    if kind == "numeric" or (kind == "auto" and len(numbers) == len(known)):
        if len(numbers) < len(known):
            raise ConfigError(
                f"data.clinical: the column '{name}' is expected to hold numbers, {len(known) - len(numbers)} of "
                f"{len(known)} values of the training part are none; correct the table, or say categorical."
            )
        sd = float(np.std(numbers)) or 1.0
        return ClinicalColumn(
            name=name, kind="numeric", mean=round(float(np.mean(numbers)), 6), sd=round(sd, 6) or 1.0,
            missing=missing,
        )  # fmt: skip
    levels = sorted(set(known))
    if len(levels) > MOST_LEVELS:
        raise ConfigError(
            f"data.clinical: the column '{name}' has {len(levels)} different values that are not all numbers, more "
            f"than the {MOST_LEVELS} that a category may have; leave it out, or correct the table."
        )
    return ClinicalColumn(name=name, kind="categorical", levels=levels, missing=missing)


def width(columns: Sequence[ClinicalColumn]) -> int:
    return sum(column.width for column in columns)


def encode(values: Mapping[str, str], columns: Sequence[ClinicalColumn]) -> np.ndarray:
    """(width,) float32 from column to text; a column that is absent is missing. See `ClinicalColumn.encode`."""
    numbers = [number for column in columns for number in column.encode(values.get(column.name, ""))]
    return np.array(numbers, np.float32)


def stamp(image: np.ndarray, values: Mapping[str, str], columns: Sequence[ClinicalColumn]) -> np.ndarray:
    """The image (..., channel) with a further channel for each number; the image itself without columns."""
    if not columns:
        return image
    encoded = encode(values, columns)
    planes = np.broadcast_to(encoded, (*image.shape[:-1], len(encoded)))
    return np.concatenate([image, planes.astype(image.dtype)], axis=-1)
