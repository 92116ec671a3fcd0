"""Clean the pixels of a DICOM dataset: which are pictures, what their frames hold, and what to store instead."""

import hashlib
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from medcli.deidentify.pixels import Cleaned, find_in
from medcli.deidentify.pixels.blanking import blank
from medcli.deidentify.pixels.boxes import Box
from medcli.deidentify.pixels.decoding import Stored, picture, stored
from medcli.deidentify.pixels.display import to_display
from medcli.deidentify.pixels.encoding import encode
from medcli.deidentify.pixels.lasting import Lasting
from medcli.errors import FormatError

_NO_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose",
}
_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_SMALLEST = 8
_LOSSY = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
}

Frames = list[list[Box]]


def clean_dataset(dataset: Dataset, finder: str) -> Cleaned | None:
    """See `medcli.deidentify.pixels.clean`."""
    if not _is_picture(dataset):
        return None
    source = stored(dataset)
    boxes = _label(dataset) or _find(source, finder)
    if not any(boxes):
        return None
    return _store(source, boxes)


def _is_picture(dataset: Dataset) -> bool:
    if not dataset.get("PixelData") or dataset.get("SOPClassUID") in _NO_PICTURES:
        return False
    missing = [
        keyword
        for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation")
        if not dataset.get(keyword)
    ]
    if missing:
        raise FormatError(f"the pixel data have no {', '.join(missing)}.")
    return min(dataset.Rows, dataset.Columns) >= _SMALLEST


def _label(dataset: Dataset) -> Frames:
    """The whole of every frame of a slide's label (PS3.3 C.8.12.4.1.1); empty for other images."""
    if dataset.get("SOPClassUID") != _SLIDE or "LABEL" not in (dataset.get("ImageType") or []):
        return []
    frames = int(dataset.get("NumberOfFrames") or 1)
    return [[(0, 0, dataset.Columns, dataset.Rows)]] * frames


def _find(source: Stored, finder: str) -> Frames:
    """Per frame the boxes of its text, and of text that other frames showed and that still stands there."""
    anatomy = _anatomy(source.dataset)
    seen: dict[bytes, list[Box]] = {}
    boxes: Frames = []
    lasting = Lasting()
    for frame in source.frames():
        key = hashlib.sha256(frame.tobytes()).digest()
        if key not in seen:
            shown = picture(frame, source.photometric, source.dataset)
            seen[key] = find_in(to_display(shown), finder, anatomy=anatomy)
            lasting.add(shown, seen[key])
        boxes.append(seen[key])
    if len(boxes) == 1 or not any(boxes):
        return boxes
    return [
        found + lasting.missed(picture(frame, source.photometric, source.dataset), found)
        for frame, found in zip(source.frames(), boxes, strict=True)
    ]


def _anatomy(dataset: Dataset) -> list[Box] | None:
    """Where anatomy can be: the regions of an ultrasound image; nowhere in a picture of a screen; None: anywhere."""
    if "SCREEN SAVE" in (dataset.get("ImageType") or []):
        return []
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    boxes = [_region(region) for region in regions]
    return [box for box in boxes if box] or None


def _region(region: Dataset) -> Box | None:
    sides = [region.get(f"RegionLocation{end}") for end in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
    if not all(isinstance(side, int) for side in sides):
        return None
    x0, y0, x1, y1 = sides
    return (x0, y0, x1 + 1, y1 + 1)


def _store(source: Stored, boxes: Frames) -> Cleaned:
    dataset = source.dataset

    def blanked() -> Iterator[np.ndarray]:
        for frame, found in zip(source.frames(), boxes, strict=True):
            palette = source.photometric == "PALETTE COLOR"
            yield blank(frame, found, indices=palette) if found else frame

    source.photometric = source.photometric or _photometric(source)
    data, syntax, photometric = encode(blanked, dataset, source.syntax, source.photometric)
    changes: dict[int, bytes | None] = {}
    if photometric != dataset.PhotometricInterpretation:
        changes[0x00280004] = _text(photometric)
    if dataset.SamplesPerPixel > 1 and dataset.get("PlanarConfiguration") != 0:
        changes[0x00280006] = (0).to_bytes(2, "little")
    changes.update(_loss(dataset, source))
    changes.update({tag: None for tag in (0x7FE00001, 0x7FE00002, 0x7FE00003) if tag in dataset})
    compressed = isinstance(data, list)
    return Cleaned(
        dataset_changes=changes,
        pixel_data=data,
        pixel_vr="OB" if compressed or dataset.BitsAllocated <= 8 else "OW",
        transfer_syntax=str(syntax),
        boxes=[(number, *box) for number, found in enumerate(boxes) for box in found],
    )


def _photometric(source: Stored) -> str:
    """That of the decoded samples, which is known once a frame has been decoded."""
    for _ in source.frames():
        break
    return source.photometric


def _loss(dataset: Dataset, source: Stored) -> dict[int, bytes | None]:
    """What says that the samples went through lossy compression, where the file did not say so."""
    method = _LOSSY.get(source.syntax)
    if method is None or dataset.get("LossyImageCompression") == "01":
        return {}
    pixels = (
        dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * int(dataset.get("NumberOfFrames") or 1)
    )
    ratio = pixels * dataset.BitsAllocated / 8 / max(len(dataset.PixelData), 1)
    return {0x00282110: b"01", 0x00282112: _text(f"{ratio:.2f}"), 0x00282114: _text(method)}


def _text(value: str) -> bytes:
    return (value + " " * (len(value) % 2)).encode("ascii")
