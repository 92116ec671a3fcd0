"""Pixel data: what lies behind and beside the pixels without decoding them, and text burned into them."""

import io

import numpy as np
import pydicom

from medcli.deidentify import wire
from medcli.deidentify.dicom.marks import fresh_meta
from medcli.deidentify.dicom.values import PIXEL_DATA, Log, raw, text_of
from medcli.deidentify.wire import Dataset, Element, File, Fragments, dictionary_vr


def _number(dataset: Dataset, tag: int, default: int) -> int:
    value = raw(dataset, tag)
    if value is None or len(value) < 2:
        return default
    if dataset[tag].vr == "IS":
        text = bytes(value).decode("latin-1").strip(" \0")
        return int(text) if text.isdigit() else default
    return int.from_bytes(bytes(value[:2]), "little")


def trim_pixels(dataset: Dataset, transfer_syntax: str, notes: list[str], *, keep_overlays: bool) -> None:
    """Cut what lies behind the last pixel of native pixel data, and clear overlays hidden in unused bits."""
    value = raw(dataset, PIXEL_DATA)
    if value is None:
        return
    rows_, columns = _number(dataset, 0x00280010, 0), _number(dataset, 0x00280011, 0)
    samples, bits = _number(dataset, 0x00280002, 1), _number(dataset, 0x00280100, 16)
    pixels = rows_ * columns * samples * max(_number(dataset, 0x00280008, 1), 1)
    size = (pixels * bits + 7) // 8
    if text_of(dataset, 0x00280004) == "YBR_FULL_422":
        size = size * 2 // 3
    if 0 < size < len(value) - 1:
        dataset[PIXEL_DATA].value = bytes(value[:size]) + b"\0" * (size % 2)
        notes.append("bytes behind the last pixel were cut")
    if bits == 16 and not keep_overlays:
        _clear_overlay_bits(dataset, notes)


def _clear_overlay_bits(dataset: Dataset, notes: list[str]) -> None:
    places = [
        _number(dataset, 0x60000102 + (group << 16), 0)
        for group in range(0, 32, 2)
        if _number(dataset, 0x60000100 + (group << 16), 1) > 1 and 0x60003000 + (group << 16) not in dataset
    ]
    places = [place for place in places if _number(dataset, 0x00280101, 16) <= place < 16]
    if places:
        pixels = np.frombuffer(bytes(dataset[PIXEL_DATA].value), "<u2").copy()  # type: ignore[arg-type]
        pixels &= np.uint16(0xFFFF ^ sum(1 << place for place in set(places)))
        dataset[PIXEL_DATA].value = pixels.tobytes()
        notes.append("overlays in unused bits of the pixels were cleared")


def clean_pixels(file: File, log: Log) -> bool:
    """Blank burned-in text on every frame; gives whether there was a picture to search.

    Raises FormatError when the pixels cannot be decoded.
    """
    if PIXEL_DATA not in file.dataset:
        return False
    from medcli.deidentify import pixels  # decoders and detectors load only where they are asked for

    dataset = pydicom.dcmread(io.BytesIO(wire.write(file)), force=True)
    cleaned = pixels.clean(dataset)
    if cleaned is None:
        return True
    for tag, value in cleaned.dataset_changes.items():
        if value is None:
            file.dataset.pop(tag, None)
        else:
            file.dataset[tag] = Element(tag, dictionary_vr(tag), value)
    pixel_data = cleaned.pixel_data
    stored = Fragments(list(pixel_data)) if isinstance(pixel_data, list) else pixel_data
    file.dataset[PIXEL_DATA] = Element(PIXEL_DATA, cleaned.pixel_vr, stored)
    file.transfer_syntax = cleaned.transfer_syntax
    file.meta = fresh_meta(file.dataset, file.transfer_syntax)
    log.done["blanked"].add(PIXEL_DATA)
    log.notes.append(f"{len(cleaned.boxes)} boxes with text were blanked")
    return True
