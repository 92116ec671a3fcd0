"""Files that are not DICOM, with a patient in every place that can hold one; and how the tests clean them."""

import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterable

import nibabel
import numpy as np
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin
from pydicom.dataset import Dataset

from medcli.deidentify import formats
from medcli.deidentify.formats import Cleaned
from medcli.deidentify.identifiers import Finder, Identifiers
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import actions_for
from medcli.deidentify.pseudonyms import Pseudonyms

NAME, FAMILY, GIVEN = "Quintbergsmüller^Annelore", "Quintbergsmüller", "Annelore"
DOCTOR, PATIENT_ID, BORN, STUDIED = "Teshigawara", "77-1234567", "1951-03-04", "2019-07-16"
SECRET = "qZv7kXw2Rt"
"""What no pattern and no collection can know: it must go because its place goes."""
NEEDLES = (
    FAMILY,
    GIVEN,
    DOCTOR,
    PATIENT_ID,
    BORN,
    "19510304",
    "1951:03:04",
    STUDIED,
    "20190716",
    "2019:07:16",
    SECRET,
)
PSEUDONYMS = Pseudonyms(b"a key for the tests only")
TEXT = f"{GIVEN} {FAMILY}, ID {PATIENT_ID}, born {BORN}, {SECRET}"


def known() -> Identifiers:
    """What DICOM files of the same patient would give."""
    found = Identifiers({NAME}, {f"{DOCTOR}^Misako"}, {PATIENT_ID})
    found.add_dates(f"{BORN} {STUDIED}")
    return found


def cleaned(
    content: bytes,
    name: str = "",
    options: Iterable[str] = (),
    *,
    identifiers: Identifiers | None = None,
    patient: str | None = PATIENT_ID,
    pixels: bool = False,
) -> Cleaned:
    """Clean with what is known of the patient and what the file itself tells."""
    options = frozenset(options)
    form = formats.format_of(content[:512], name)
    assert form is not None
    found = known() if identifiers is None else identifiers
    formats.collect(form, content, found, actions_for(options, ""))
    return formats.clean(form, content, policy(found, options, patient), pixels=pixels)


def policy(found: Identifiers, options: Iterable[str] = (), patient: str | None = PATIENT_ID) -> Policy:
    options = frozenset(options)
    keep_dates = "full-dates" in options and "modified-dates" not in options
    finder = Finder(found, None if "uids" in options else PSEUDONYMS, keep_dates=keep_dates)
    return Policy(options, PSEUDONYMS, finder, patient)


def left(content: bytes, name: str = "", needles: Iterable[str] = NEEDLES) -> list[str]:
    """The needles that are still there, in any encoding or packed part."""
    form = formats.format_of(content[:512], name)
    assert form is not None
    places = [part.lower() for part in (content, *formats.opaque_parts(form, content))]
    return [needle for needle in needles if any(way in place for place in places for way in _ways(needle))]


def _ways(text: str) -> set[bytes]:
    text = text.lower()
    return {text.encode(charset) for charset in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")} | {
        json.dumps(text).strip('"').encode()
    }


# --- pictures -----------------------------------------------------------------------------------------------------


def samples(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    most = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1000
    return np.random.default_rng(7).integers(0, most, shape).astype(dtype)


def profile() -> bytes:
    """sRGB, with a name in its description."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", made, 128)
    for place in range(132, 132 + 12 * count, 12):
        if made[place : place + 4] == b"desc":
            body = b"desc" + bytes(4) + struct.pack(">I", len(SECRET) + 1) + SECRET.encode() + b"\0"
            entry = struct.pack(">2I", len(made), len(body))
            made = made[: place + 4] + entry + made[place + 12 :] + body
    return struct.pack(">I", len(made)) + made[4:]


def exif(turned: int = 1) -> bytes:
    made = Image.Exif()
    made[0x0112] = turned
    made[0x013B], made[0x010E], made[0x013C] = DOCTOR, TEXT, SECRET
    made[0x9C9D] = (FAMILY + "\0").encode("utf-16-le")
    inner = made.get_ifd(0x8769)
    inner[0x9003] = f"{STUDIED.replace('-', ':')} 10:11:12"
    inner[0x9286] = b"UNICODE\0" + TEXT.encode("utf-16-le")
    inner[0xA431] = SECRET
    place = made.get_ifd(0x8825)
    place[1], place[2], place[29] = "N", (52.0, 31.0, 12.5), STUDIED.replace("-", ":")
    return made.tobytes().removeprefix(b"Exif\0\0")


def xmp() -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:CreateDate="{STUDIED}T10:11:12">'
        f"<dc:creator><rdf:Seq><rdf:li>{DOCTOR}</rdf:li></rdf:Seq></dc:creator>{TEXT}</rdf:Description></x:xmpmeta>"
    ).encode()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(array: np.ndarray, extra: bytes, *, mode: str | None = None, after: bytes = b"") -> bytes:
    """A PNG with these chunks behind IHDR, and these bytes behind its end."""
    out = io.BytesIO()
    Image.fromarray(array, mode).save(out, "PNG")
    return out.getvalue()[:33] + extra + out.getvalue()[33:] + after


def png(turned: int = 1) -> bytes:
    text, latin = TEXT.encode(), TEXT.encode("latin-1")
    extra = chunk(b"iCCP", SECRET.encode() + b"\0\0" + zlib.compress(profile()))
    extra += chunk(b"pHYs", struct.pack(">2IB", 11811, 5905, 1))
    extra += chunk(b"tEXt", b"Author\0" + DOCTOR.encode()) + chunk(b"tEXt", b"Comment\0" + latin)
    extra += chunk(b"zTXt", b"Description\0\0" + zlib.compress(latin))
    extra += chunk(b"iTXt", b"Title\0\1\0de\0Titel\0" + zlib.compress(text)) + chunk(
        b"iTXt", b"x\0\0\0\0\0" + text
    )
    extra += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp())
    extra += chunk(b"eXIf", exif(turned)) + chunk(b"tIME", struct.pack(">H5B", 2019, 7, 16, 10, 11, 12))
    extra += (
        chunk(b"sPLT", SECRET.encode() + b"\0\x08" + bytes(6)) + chunk(b"prVt", text) + chunk(b"gAMA", text)
    )
    return png_with(samples(23, 31, 3), extra, after=text)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">2BH", 0xFF, marker, len(data) + 2) + data


def jpeg(turned: int = 1, mode: str = "RGB", **how: object) -> bytes:
    out, small = io.BytesIO(), io.BytesIO()
    picture = Image.fromarray(samples(40, 56, 3)).convert(mode)
    picture.save(out, "JPEG", **how)
    picture.resize((8, 8)).save(small, "JPEG", comment=SECRET)
    text, raw = TEXT.encode(), out.getvalue()
    iptc = b"".join(
        struct.pack(">3BH", 0x1C, 2, number, len(value)) + value
        for number, value in ((80, DOCTOR.encode()), (120, text))
    )
    icc = profile()
    extra = segment(0xE0, b"JFXX\0\x10" + small.getvalue())
    extra += segment(0xE1, b"Exif\0\0" + exif(turned)) + segment(
        0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()
    )
    extra += segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + text)
    extra += segment(0xE2, b"ICC_PROFILE\0\1\2" + icc[:300]) + segment(0xE2, b"ICC_PROFILE\0\2\2" + icc[300:])
    extra += segment(0xE2, b"MPF\0" + text) + segment(0xEB, text) + segment(0xFE, text)
    extra += segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc)
    start = 20 if raw[2:4] == b"\xff\xe0" else 2
    return raw[:start] + extra + raw[start:] + small.getvalue() + text


def tiff_with(array: np.ndarray, **how: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, array, **how)
    return out.getvalue()


def tiff(**how: object) -> bytes:
    """Three pages; texts in tags of several types; bytes to which no tag points."""
    text = TEXT.encode()
    tags = [(tag, 2, 0, text, False) for tag in (269, 271, 272, 285, 315, 316, 33432, 65000, 65001)]
    tags += [
        (tag, 7, len(body), body, False)
        for tag, body in ((700, xmp()), (33723, text), (34377, text), (37724, text))
    ]
    tags += [
        (40091, 1, 2 * len(TEXT), TEXT.encode("utf-16-le"), False),
        (34675, 7, len(profile()), profile(), False),
    ]
    how = {
        "photometric": "minisblack",
        "description": text,
        "software": SECRET,
        "datetime": f"{STUDIED.replace('-', ':')} 10:11:12",
    } | how
    return tiff_with(samples(3, 21, 34, dtype=np.uint16), metadata=None, extratags=tags, **how) + text


def tiff_by_pillow(mode: str, **how: object) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[315] = TEXT, DOCTOR
    out = io.BytesIO()
    Image.fromarray(samples(21, 34, 3)).convert(mode).save(out, "TIFF", tiffinfo=tags, **how)
    return out.getvalue()


# --- volumes ------------------------------------------------------------------------------------------------------


def nifti(kind: type = nibabel.Nifti1Image, dtype: type = np.int16) -> bytes:
    """Unequal sides and steps, a rotated affine, every text field and four extensions."""
    affine = np.array([[0.0, -1.25, 0.1, 4.5], [1.5, 0.0, 0.2, -7.25], [0.0, 0.3, 2.0, 11.0], [0, 0, 0, 1]])
    made = kind(samples(5, 7, 3, dtype=dtype), affine)
    header = made.header
    header["descrip"], header["aux_file"] = TEXT.encode()[:79], PATIENT_ID.encode()
    header["intent_name"] = SECRET.encode()
    header["cal_max"], header["intent_code"], header["intent_p1"], header["toffset"] = 900, 3, 12.5, 0.75
    if kind is nibabel.Nifti1Image:
        header["data_type"], header["db_name"] = SECRET.encode()[:10], FAMILY.encode("latin-1")
        header["extents"], header["glmax"] = 77123456, 19510304
    data = Dataset()
    data.PatientName, data.PatientID, data.InstitutionName = f"{GIVEN}^{DOCTOR}", PATIENT_ID, SECRET
    header.extensions.append(nibabel.nifti1.Nifti1DicomExtension(2, data))
    for code in (4, 6, 99998):
        header.extensions.append(nibabel.nifti1.Nifti1Extension(code, f"Patient Name: {TEXT}".encode()))
    header.set_slope_inter(2.0, -3.0)
    return made.to_bytes() + TEXT.encode()


def packed(content: bytes) -> bytes:
    """Gzip with the patient's name as file name and a date."""
    out = io.BytesIO()
    with gzip.GzipFile(f"{GIVEN}_{PATIENT_ID}.nii", "wb", fileobj=out, mtime=1563271872) as stream:
        stream.write(content)
    return out.getvalue()


# --- text ---------------------------------------------------------------------------------------------------------

SIDECAR = {
    "Modality": "MR",
    "EchoTime": 0.00298,
    "PatientName": NAME,
    "PatientID": PATIENT_ID,
    "PatientBirthDate": BORN,
    "AcquisitionDateTime": f"{STUDIED}T10:11:12.500",
    "AcquisitionTime": "10:11:12.500000",
    "OperatorsName": DOCTOR,
    "InstitutionName": SECRET,
    "DeviceSerialNumber": SECRET,
    "AccessionNumber": f"A{SECRET}",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.9.1234.567890123456",
    "SliceTiming": [0, 0.5, 1.0],
    "Comment": TEXT,
    "global": {
        "const": {"attending_physician": [DOCTOR, SECRET], f"seen {FAMILY}": True, "text": f"{GIVEN} came"}
    },
}


def sidecar() -> bytes:
    return json.dumps(SIDECAR, indent="\t").encode()


def table() -> bytes:
    return (
        f"participant_id\tpatient_name\tdob\treader\tgroup\tnote\n"
        f"{PATIENT_ID}\t{NAME}\t{BORN}\t{DOCTOR}\tA\t{TEXT}\nP02\tDoe^J\tn/a\tn/a\tseen by Dr. {DOCTOR}\tn/a\n"
    ).encode()


FILES = {
    "volume.nii": nifti(),
    "volume2.nii": nifti(nibabel.Nifti2Image),
    "volume.nii.gz": packed(nifti()),
    "sidecar.json": sidecar(),
    "participants.tsv": table(),
    "picture.png": png(),
    "picture.jpg": jpeg(),
    "pages.tif": tiff(),
    "big.tif": tiff(bigtiff=True, byteorder=">"),
    "tiles.tif": tiff(tile=(16, 16)),
    "jpeg.tif": tiff_by_pillow("RGB", compression="jpeg"),
}
"""Name -> content; every place holds some of `NEEDLES`."""
