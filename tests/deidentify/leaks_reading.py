"""Takes output files apart for the leak counter: every element, every layer of packing, every picture."""

import base64
import gzip
import html
import io
import json
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from deidentify.planted_key import File, Key
from PIL import Image
from pydicom.dataset import Dataset

BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]{24,}={0,2}")
STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
HEXES = re.compile(rb"<([0-9A-Fa-f\s]{10,})>")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass
class Output:
    """One output file: its bytes, its parts by path, and the data set where it is DICOM."""

    name: str
    raw: bytes
    units: dict[str, bytes] = field(default_factory=dict)
    dates: set[str] = field(default_factory=set)  # paths of elements with VR DA or DT
    dataset: Dataset | None = None


def read_outputs(folder: Path) -> list[Output]:
    return [read_output(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def read_output(path: Path, folder: Path) -> Output:
    one = Output(path.relative_to(folder).as_posix(), path.read_bytes())
    data = as_dicom(one.raw)
    if data is not None:
        one.dataset = data
        _take_apart(one, data)
    elif path.suffix == ".json":
        for where, value in walk_json(json.loads(one.raw)):
            one.units[where] = one.units.get(where, b"") + b"\n" + str(value).encode()
    one.units["raw"] = b"\0".join(layers(one.raw))
    return one


def as_dicom(raw: bytes) -> Dataset | None:
    """Everything that looks like DICOM, also without a preamble."""
    groups = raw[:2] in (b"\x08\0", b"\x02\0", b"\0\x08") and raw[2:4] != b"\0\0\0\0"
    if raw[128:132] != b"DICM" and not groups:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(io.BytesIO(raw), force=True)
        except Exception:  # whatever is wrong with it, its bytes are searched
            return None


def _take_apart(one: Output, data: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.units["preamble"] = one.raw[:128] if one.raw[128:132] == b"DICM" else b""
        for part in (getattr(data, "file_meta", Dataset()), data):
            for where, vr, content in walk_bytes(part):
                one.units[where] = b"\0".join(layers(content)) if vr in PACKED else content
                if vr in ("DA", "DT"):
                    one.dates.add(where)


PACKED = {"OB", "OW", "UN", "UT", "ST", "LT"}


def walk_bytes(data: Dataset, before: str = "") -> Iterator[tuple[str, str, bytes]]:
    """Path, VR and content of every element; text in UTF-8."""
    for tag in data.keys():  # noqa: SIM118 - iterating would stop at the first broken element
        where = f"{before}{int(tag):08X}"
        try:
            element = data[tag]
            value = element.value
        except Exception:
            raw = data.get_item(tag)
            yield where, "UN", getattr(raw, "value", b"") or b""
            continue
        if element.VR == "SQ":
            for index, item in enumerate(value):
                yield from walk_bytes(item, f"{where}[{index}].")
        elif isinstance(value, bytes):
            yield where, element.VR, value
        else:
            parts = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
            yield (
                where,
                element.VR,
                "\\".join("" if part is None else str(part) for part in parts).encode("utf-8", "replace"),
            )


def walk_json(value: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield before.removesuffix("."), name
            yield from walk_json(inner, f"{before}{name}.")
    elif isinstance(value, list):
        for inner in value:
            yield from walk_json(inner, before)
    else:
        yield before.removesuffix("."), value


# --- layers of packing


def layers(raw: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes, and everything that can be unpacked from them."""
    yield raw
    if depth == 3:
        return
    for inner in _unpacked(raw):
        yield from layers(inner, depth + 1)


def _unpacked(raw: bytes) -> Iterator[bytes]:
    if raw[128:132] == b"DICM" and b"1.2.840.10008.1.2.1.99" in raw[:1000]:
        length = struct.unpack_from("<I", raw, 140)[0]
        yield _inflate(raw[144 + length :], -zlib.MAX_WBITS)
    if raw[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError, zlib.error):
            yield gzip.decompress(raw)
    if raw[:4] == b"PK\3\4":
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield "\n".join(archive.namelist()).encode()
            for name in archive.namelist():
                yield archive.read(name)
    if raw[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_texts(raw)
    if b"%PDF" in raw[:1024]:
        for match in STREAM.finditer(raw):
            yield _inflate(match[1], zlib.MAX_WBITS)
        for match in HEXES.finditer(raw):
            yield _unhex(match[1])
    if len(raw) > 200_000:  # pixels
        return
    if raw.startswith(b"BT "):
        for match in HEXES.finditer(raw):
            yield _unhex(match[1])
    for match in BASE64.finditer(raw):
        run = re.sub(rb"[\r\n]", b"", match[0])
        try:
            yield base64.b64decode(run + b"=" * (-len(run) % 4))
        except ValueError:
            continue
    if b"\\u" in raw:
        yield ESCAPE.sub(lambda found: chr(int(found[1], 16)), raw.decode("utf-8", "replace")).encode(
            "utf-8", "replace"
        )
    if b"&#" in raw or b"&amp;" in raw:
        yield html.unescape(raw.decode("utf-8", "replace")).encode("utf-8", "replace")


def _inflate(packed: bytes, bits: int) -> bytes:
    try:
        return zlib.decompressobj(bits).decompress(packed)
    except zlib.error:
        return b""


def _unhex(digits: bytes) -> bytes:
    clean = re.sub(rb"\s", b"", digits)
    return bytes.fromhex(clean[: len(clean) // 2 * 2].decode())


def _png_texts(raw: bytes) -> Iterator[bytes]:
    place = 8
    while place + 8 <= len(raw):
        length, name = struct.unpack_from(">I4s", raw, place)
        content = raw[place + 8 : place + 8 + length]
        if name in (b"zTXt", b"iTXt", b"iCCP"):
            for start in (match.start() for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", content)):
                yield _inflate(content[start:], zlib.MAX_WBITS)
        place += 12 + length


# --- which output belongs to which input


def match_outputs(key: Key, outputs: list[Output]) -> dict[str, str]:
    """Name of the output to name of the input.

    By what de-identification leaves alone: the InstanceNumber, which is unique in the corpus; the shape or size of
    volumes and pictures; the echo time of sidecars. Else by the same relative path.
    """
    known: dict[tuple[str, str], str] = {
        (file.format, str(file.number or file.fingerprint)): name
        for name, file in key.files.items()
        if file.number or file.fingerprint
    }
    found = {}
    for one in outputs:
        match = known.get(fingerprint(one))
        if (
            match is None
            and one.dataset is not None
            and one.dataset.get("DirectoryRecordSequence") is not None
        ):
            match = next((name for name, file in key.files.items() if file.kind == "dicomdir"), None)
        if one.name in key.files and (match is None or key.files[one.name].kind == "dicomdir"):
            match = one.name
        if match is not None:
            found[one.name] = match
    return found


def fingerprint(one: Output) -> tuple[str, str]:
    if one.dataset is not None:
        return "dicom", str(one.dataset.get("InstanceNumber", ""))
    try:
        if one.name.endswith((".nii", ".nii.gz")):
            return "nifti", "x".join(map(str, volume(one.raw).shape))
        if one.name.endswith(".json"):
            return "json", str(json.loads(one.raw).get("EchoTime"))
        picture = Image.open(io.BytesIO(one.raw))
        return str(picture.format).lower(), f"{picture.height}x{picture.width}"
    except Exception:
        return "", ""


def volume(raw: bytes) -> nibabel.Nifti1Image:
    content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nibabel.Nifti1Image.from_bytes(content)


def pixels(name: str, raw: bytes, file: File) -> np.ndarray | None:
    """(frame, row, column, channel); None where the file holds no picture."""
    if file.format == "dicom":
        data = as_dicom(raw)
        if data is None or "PixelData" not in data:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.remove_private_tags()
            array = (
                pydicom.pixels.pixel_array(data, raw=False) if data.SamplesPerPixel > 1 else data.pixel_array
            )
        colour, frames = data.SamplesPerPixel > 1, int(data.get("NumberOfFrames", 1) or 1) > 1
        array = array if frames else array[None]
        return array if colour else array[..., None]
    if file.format in ("png", "jpeg"):
        array = np.asarray(Image.open(io.BytesIO(raw)))
        return array[None] if array.ndim == 3 else array[None, ..., None]
    return None
