"""Text that stands at one place for many frames: where it was found once, it is looked for in the other frames."""

from dataclasses import dataclass, field

import numpy as np

from medcli.deidentify.pixels.boxes import Box, cut
from medcli.deidentify.pixels.strokes import otsu

_TOLERANCE = 0.25
_MOST = 400


@dataclass(frozen=True)
class _Stamp:
    """Text as it was found: its box, which pixels are strokes, their values, and how far the ground is from them."""

    box: Box
    strokes: np.ndarray
    values: np.ndarray
    contrast: float

    def stands_in(self, picture: np.ndarray) -> bool:
        """Whether most strokes have their old values, and the ground among them does not."""
        here = _grey(cut(picture, self.box))
        kept = np.abs(here[self.strokes] - self.values) <= _TOLERANCE * self.contrast
        apart = np.abs(here[~self.strokes] - np.median(self.values)) >= self.contrast / 2
        return bool(kept.mean() >= 0.85 and apart.mean() >= 0.7)


@dataclass
class Lasting:
    """What was found so far; all pictures are (row, column[, 3]) of one shape and scale."""

    _stamps: list[_Stamp] = field(default_factory=list)

    def add(self, picture: np.ndarray, boxes: list[Box]) -> None:
        """Remember the text in these boxes, unless it is known."""
        known = {stamp.box for stamp in self._stamps}
        stamps = [_stamp(picture, box) for box in boxes if box not in known]
        self._stamps += [stamp for stamp in stamps if stamp][: max(_MOST - len(self._stamps), 0)]

    def missed(self, picture: np.ndarray, found: list[Box]) -> list[Box]:
        """Boxes of remembered text that stands in this picture and that the boxes found there do not cover."""
        covered = np.zeros(picture.shape[:2], bool)
        for box in found:
            cut(covered, box)[...] = True
        return [
            stamp.box
            for stamp in self._stamps
            if cut(covered, stamp.box)[stamp.strokes].mean() < 0.9 and stamp.stands_in(picture)
        ]


def _stamp(picture: np.ndarray, box: Box) -> _Stamp | None:
    grey = _grey(cut(picture, box))
    least, most = float(grey.min()), float(grey.max())
    if least == most:
        return None
    scaled = ((grey - least) * (255 / (most - least))).astype(np.uint8)
    bright = scaled > otsu(scaled)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    strokes = ~bright if border.mean() > 0.5 else bright
    values = grey[strokes]
    return _Stamp(box, strokes, values, abs(float(np.median(values)) - float(np.median(grey[~strokes]))))


def _grey(values: np.ndarray) -> np.ndarray:
    return (values if values.ndim == 2 else values.max(axis=2)).astype(np.float32)
