"""The PP-OCR networks that the package rapidocr carries, run by onnxruntime on one thread.

The networks are used as they are (Apache-2.0, see MODEL_LICENSES.md in rapidocr); nothing is downloaded. What is
read is counted and weighed here and never leaves this module, as it is patient data.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medcli.deidentify.pixels.resampling import resize

_LINE_HEIGHT = 48
_LONGEST_LINE = 960
_ROUND_OR_STRAIGHT = frozenset("0OoQDcC()1Il|i!/\\-_=.,:;'`~^ °○〇口一丨")
_MARGIN = 8  # text that touches the edge of the picture is overlooked without one
_TILE, _OVERLAP = 640, 64  # in larger pictures small text is lost, as the network weighs the whole


@dataclass(frozen=True)
class Reading:
    """What was read, without its content.

    Attributes:
        characters: How many.
        confidence: How sure the network is of them, mean, 0 to 1.
        telling: How many are neither round nor straight, as bones and edges often look like 0 and 1.
    """

    characters: int
    confidence: float
    telling: int


def available() -> bool:
    """Whether the extra `pixels` is installed with its networks."""
    return importlib.util.find_spec("onnxruntime") is not None and len(_networks()) == 2


@lru_cache(maxsize=1)
def _networks() -> tuple[Path, ...]:
    """The files of the detector and of the recogniser, found without importing rapidocr and what it needs."""
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or spec.origin is None:
        return ()
    folder = Path(spec.origin).parent / "models"
    return tuple(path for kind in ("det", "rec") for path in sorted(folder.glob(f"*_{kind}_*.onnx"))[:1])


@lru_cache(maxsize=2)
def _session(kind: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(_networks()[kind]), options, providers=["CPUExecutionProvider"])


def _run(kind: int, batch: np.ndarray) -> np.ndarray:
    session = _session(kind)
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(batch)})[0]


def likelihood(display: np.ndarray) -> np.ndarray:
    """How much each pixel of a (row, column[, 3]) uint8 picture looks like the core of a line; float32."""
    seen = np.zeros(display.shape[:2], np.float32)
    for rows in _tiles(display.shape[0]):
        for columns in _tiles(display.shape[1]):
            seen[rows, columns] = np.maximum(seen[rows, columns], _likelihood(display[rows, columns]))
    return seen


def _tiles(length: int) -> list[slice]:
    """Equal overlapping parts of an axis, as few as there can be."""
    count = max(1, -(-(length - _OVERLAP) // (_TILE - _OVERLAP)))
    size = -(-(length + (count - 1) * _OVERLAP) // count)
    starts = [min(index * (size - _OVERLAP), length - size) for index in range(count)]
    return [slice(start, start + size) for start in starts]


def _likelihood(display: np.ndarray) -> np.ndarray:
    rows, columns = display.shape[:2]
    picture = display if display.ndim == 3 else display[..., None]
    padding = [(_MARGIN, _MARGIN + -(length + 2 * _MARGIN) % 32) for length in (rows, columns)]
    batch = (
        np.pad(picture, [*padding, (0, 0)], mode="edge").transpose(2, 0, 1)[None].astype(np.float32) / 127.5
        - 1
    )
    seen = _run(0, np.broadcast_to(batch, (1, 3, *batch.shape[2:])))[0, 0]
    return seen[_MARGIN : _MARGIN + rows, _MARGIN : _MARGIN + columns]


def read(line: np.ndarray) -> Reading:
    """Read an upright uint8 picture of one line."""
    rows, columns = line.shape[:2]
    width = int(np.clip(np.ceil(_LINE_HEIGHT * columns / rows / 8) * 8, 24, _LONGEST_LINE))
    picture = resize(_stretch(line), (_LINE_HEIGHT, width))
    picture = picture if picture.ndim == 3 else picture[..., None]
    batch = picture.transpose(2, 0, 1)[None] / np.float32(127.5) - 1
    scores = _run(1, np.broadcast_to(batch, (1, 3, *batch.shape[2:])))[0]
    best, sure = scores.argmax(1), scores.max(1)
    kept = (best > 0) & (best != np.r_[-1, best[:-1]])  # class 0 is no character, repeats are one character
    if not kept.any():
        return Reading(0, 0.0, 0)
    telling = sum(_alphabet()[index] not in _ROUND_OR_STRAIGHT for index in best[kept])
    return Reading(int(kept.sum()), float(sure[kept].mean()), telling)


@lru_cache(maxsize=1)
def _alphabet() -> list[str]:
    """The characters by class: first no character, last the blank."""
    characters = _session(1).get_modelmeta().custom_metadata_map["character"]
    return ["", *characters.splitlines(), " "]


def _stretch(picture: np.ndarray) -> np.ndarray:
    least, most = float(picture.min()), float(picture.max())
    return (picture - np.float32(least)) * np.float32(255 / max(most - least, 1))
