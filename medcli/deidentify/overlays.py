"""Text drawn into overlays (groups 60xx), which the option Clean Graphics keeps without it (PS3.3 C.9.2)."""

from collections.abc import Iterator

import numpy as np

from medcli.deidentify.wire import Dataset, Element

_DATA, _ROWS, _COLUMNS, _FRAMES = 0x3000, 0x0010, 0x0011, 0x0015


def clean_overlays(dataset: Dataset) -> list[int]:
    """Blank text in every overlay plane, in place; the tags of those that were changed.

    An overlay whose size does not fit its data is removed, as nobody can tell what it shows.
    """
    changed = []
    for group in {tag >> 16 for tag in dataset if 0x6000 <= tag >> 16 <= 0x601E}:
        tag = group << 16 | _DATA
        element = dataset.get(tag)
        if element is None or not isinstance(element.value, bytes | memoryview):
            continue
        planes = _planes(dataset, group, bytes(element.value))
        if planes is None:
            del dataset[tag]
            changed.append(tag)
        elif _blank(planes):
            packed = np.packbits(planes.reshape(-1), bitorder="little").tobytes()
            dataset[tag] = Element(tag, "OW", packed + b"\0" * (len(packed) % 2))
            changed.append(tag)
    return changed


def _planes(dataset: Dataset, group: int, data: bytes) -> np.ndarray | None:
    """(frame, row, column) of 0 and 1; None when there are fewer bits than the size asks for."""
    shape = tuple(_numbers(dataset, group))
    count = int(np.prod(shape))
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return bits[:count].reshape(shape).copy() if 0 < count <= len(bits) else None


def _numbers(dataset: Dataset, group: int) -> Iterator[int]:
    for number, default in ((_FRAMES, 1), (_ROWS, 0), (_COLUMNS, 0)):
        element = dataset.get(group << 16 | number)
        value = (
            bytes(element.value)
            if element is not None and isinstance(element.value, bytes | memoryview)
            else b""
        )
        if element is not None and element.vr == "IS":
            text = value.decode("latin-1").strip(" \0")
            yield int(text) if text.isdigit() else 0
        else:
            yield int.from_bytes(value[:2], "little") if len(value) >= 2 else default


def _blank(planes: np.ndarray) -> bool:
    from medcli.deidentify.pixels import find_text  # loads its models only where it is asked for

    found = False
    for plane in planes:
        for left, top, right, bottom in find_text((plane * 255).astype(np.uint8)):
            found |= bool(plane[top:bottom, left:right].any())
            plane[top:bottom, left:right] = 0
    return found
