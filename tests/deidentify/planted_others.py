"""Files of the planted corpus that are not DICOM, and the documents that DICOM files carry inside."""

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import nibabel
import numpy as np
from deidentify.planted_key import File, Key, Sheet, Text
from deidentify.planted_people import Identifier, Patient, Source, Study, date_forms, identifiers, name_forms
from deidentify.planted_pixels import Line, anatomy, burn, pack
from PIL import Image
from pydicom.dataset import Dataset


def clock(date: str, time: str) -> str:
    """ISO 8601, as sidecars have it."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"


# --- documents inside DICOM


def pdf_document(sheet: Sheet, source: Source, patient: Patient, study: Study, *, where: str) -> bytes:
    """One page whose text is in a deflated stream, with document information and a name in UTF-16."""
    (full, parts), forms = name_forms(patient.name)[0], name_forms(patient.name)
    plant = sheet.plant
    author, number, title = source.person().replace("^", " "), source.digits(8), source.token(12)
    plant("PDF", "staff", where, author)
    plant("PDF", "record number", where, number)
    plant("PDF", "text", where, title)
    plant("PDF", "birth date", where, date_forms(patient.birth_date)[2])
    plant("PDF", "name", where, full, needles=parts)
    plant("PDF", "accession", where, study.accession)
    lines = [f"MRN: {number}", f"born {date_forms(patient.birth_date)[2]}", f"Acc {study.accession}"]
    shown = b"".join(b"(" + line.encode("latin-1") + b") Tj T* " for line in lines)
    wide = (b"\xfe\xff" + full.encode("utf-16-be")).hex().upper().encode()
    page = zlib.compress(b"BT /F1 12 Tf 72 720 Td 14 TL " + shown + b"<" + wide + b"> Tj ET")
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:subject>{escape(forms[1][0])}</dc:subject></x:xmpmeta>'.encode()
    plant("PDF", "name", where, forms[1][0], needles=forms[1][1])
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Metadata 6 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Author (" + author.encode("latin-1") + b") /Title (Report " + title.encode() + b") >>",
        b"<< /Type /Metadata /Subtype /XML /Length %d >>\nstream\n%s\nendstream" % (len(xmp), xmp),
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for index, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (index, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(out)


def clinical_document(sheet: Sheet, source: Source, patient: Patient, study: Study, *, where: str) -> bytes:
    """A CDA document: the patient's data in elements and attributes, a sentence, and a text in base64."""
    surname, given = patient.name.split("=")[0].split("^")[:2]
    plant = sheet.plant
    plant("CDA", "name", where, f"{given} {surname}", needles=(surname, given))
    plant("CDA", "id", where, patient.id)
    plant("CDA", "birth date", where, patient.birth_date)
    street, phone, hidden = source.token(12), source.digits(9), source.token(12)
    plant("CDA", "address", where, street)
    plant("CDA", "phone", where, phone)
    plant("CDA", "text", where, hidden)
    doctor = source.person().replace("^", " ")
    plant("CDA", "staff", where, doctor)
    inside = base64.b64encode(
        f"Letter for {given} {surname}, {hidden}, private and confidential".encode()
    ).decode()
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Report</title><effectiveTime value="{study.date}"/>
<recordTarget><patientRole><id extension="{patient.id}" root="2.16.840.1.113883.19"/>
<addr><streetAddressLine>{street}</streetAddressLine></addr><telecom value="tel:{phone}"/>
<patient><name><given>{escape(given)}</given><family>{escape(surname)}</family></name>
<birthTime value="{patient.birth_date}"/></patient></patientRole></recordTarget>
<author><assignedAuthor><assignedPerson><name>{doctor}</name></assignedPerson></assignedAuthor></author>
<component><structuredBody><component><section><text>No acute finding in the chest.</text>
<entry><observationMedia><value representation="B64">{inside}</value></observationMedia></entry>
</section></component></structuredBody></component></ClinicalDocument>
""".encode()


# --- files


class Page:
    """One file that is not DICOM: its notes, and short ways to plant."""

    def __init__(self, key: Key, source: Source, patient: Patient, study: Study, number: int):
        self.key, self.source, self.patient, self.study, self.number = key, source, patient, study, number
        self.sheet = Sheet(key, patient.label, ["ISO_IR 192"])
        self.texts = identifiers(source, patient, study)
        for _ in range(source.random.randint(0, 15)):
            next(self.texts)
        self.random = np.random.default_rng(number)
        self.notes: list[tuple[Line, list[int], np.ndarray]] = []

    def text(self, category: str, where: str, limit: int = 60, *, ascii_only: bool = False) -> str:
        for found in self.texts:
            if len(found.text.encode()) + 8 <= limit and (found.text.isascii() or not ascii_only):
                return self.found(
                    category, where, found, f"T1 axial {found.text}" if limit > 40 else found.text
                )
        raise AssertionError

    def found(self, category: str, where: str, found: Identifier, text: str) -> str:
        self.sheet.plant(category, found.kind, where, text, needles=found.needles, allowed=found.allowed)
        return text

    def name(self, category: str, where: str, form: int = 0) -> str:
        text, needles = name_forms(self.patient.name)[form]
        return self.sheet.plant(category, "name", where, text, needles=needles)

    def token(self, category: str, where: str) -> str:
        return self.sheet.plant(category, "text", where, self.source.token(12))

    def date(self, category: str, where: str, written: Callable[[str], str] = str) -> str:
        value = written(self.source.date())
        return self.sheet.plant(category, "date", where, value, allowed=("full-dates",))

    def picture(self, *, colour: bool) -> np.ndarray:
        """A picture of a size that no other file has, with a burned-in name."""
        rows, columns = 150 + self.number, 220
        grey = (anatomy(self.random, rows, columns, noise=0.01) * 255).astype(np.uint8)
        latin = [form for form, _ in name_forms(self.patient.name) if form.isascii() and " " in form]
        lines = [Line(latin[0] if latin else self.patient.id, 5, 6, 15), Line(self.patient.id, 24, 6, 13)]
        array = grey[..., None].repeat(3, axis=-1) if colour else grey
        array, self.notes = burn(np.ascontiguousarray(array), lines, 255)
        return array

    def close(
        self, target: Path, name: str, format_: str, kind: str, fingerprint: str, content: bytes
    ) -> None:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for line, box, mask in self.notes:
            self.sheet.texts.append(Text("", None, box, pack(mask), line.text, line.identifies))
        self.sheet.close(name, File(format_, kind, self.patient.label, fingerprint=fingerprint))


def nifti(page: Page, *, packed: bool) -> tuple[str, str, str, bytes]:
    """Text fields of the header, a comment, a DICOM data set as extension; packed with the original name."""
    shape = (6, 7, 5 + page.number)
    volume = page.random.integers(0, 900, shape).astype(np.int16)
    affine = np.diag([-1.5, 1.25, 2.0, 1.0])
    affine[:3, 3] = [10.5, -20.25, 7.0]
    made = nibabel.Nifti1Image(volume, affine)
    header = made.header
    header["descrip"] = page.text("NIfTI", "descrip", 79).encode()
    header["aux_file"] = page.sheet.plant("NIfTI", "id", "aux_file", page.patient.id).encode()
    header["db_name"] = page.token("NIfTI", "db_name").encode()
    header["intent_name"] = page.token("NIfTI", "intent_name").encode()
    comment = f"Patient: {page.name('NIfTI', 'extension 6', 1)}; {page.text('NIfTI', 'extension 6')}"
    header.extensions.append(nibabel.nifti1.Nifti1Extension(6, comment.encode()))
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName, data.PatientID = page.patient.name, page.patient.id
    page.sheet.plant(
        "NIfTI", "name", "extension 2", page.patient.name, needles=name_forms(page.patient.name)[0][1][1:]
    )
    page.sheet.plant("NIfTI", "id", "extension 2", page.patient.id)
    data.InstitutionName = page.token("NIfTI", "extension 2")
    header.extensions.append(nibabel.nifti1.Nifti1DicomExtension(2, data))
    raw = made.to_bytes()
    fingerprint = "x".join(map(str, shape))
    page.sheet.must_stay("basic", "affine", str(affine.round(3).tolist()))
    if not packed:
        return "nii", "nifti", fingerprint, raw
    name = page.name("NIfTI", "gzip name", -1)
    out = io.BytesIO()
    with gzip.GzipFile(name.encode() + b".nii", "wb", fileobj=out, mtime=0) as stream:
        stream.write(raw)
    return "nii.gz", "nifti", fingerprint, out.getvalue()


def sidecar(page: Page, *, escaped: bool) -> tuple[str, str, str, bytes]:
    """A BIDS sidecar as converters write it when nobody asks them to leave anything out, and more, nested."""
    patient, study, echo = page.patient, page.study, 0.00298 + page.number / 1e6
    plant = page.sheet.plant
    content: dict[str, Any] = {
        "Modality": "MR", "MagneticFieldStrength": 3, "EchoTime": echo, "RepetitionTime": 2.3, "FlipAngle": 9,
        "ImageOrientationPatientDICOM": [1, 0, 0, 0, 1, 0],
        "PatientName": patient.name.split("=")[0], "PatientID": patient.id,
        "PatientBirthDate": date_forms(patient.birth_date)[1],
        "AcquisitionDateTime": clock(study.date, study.time), "AcquisitionTime": page.source.time(),
        "InstitutionName": patient.institution, "InstitutionAddress": patient.institution_address,
        "StationName": patient.station, "DeviceSerialNumber": patient.serial, "AccessionNumber": study.accession,
        "StudyInstanceUID": study.uid, "SeriesInstanceUID": page.source.uid(),
        "SeriesDescription": page.text("JSON", "SeriesDescription"),
        "ImageComments": page.text("JSON", "ImageComments"),
        "global": {"const": {
            "ReferringPhysicianName": study.referring, "OperatorsName": study.operator,
            "notes": [page.text("JSON", "global.const.notes"), {"contact": patient.phone}],
            page.name("JSON", "global.const", -1): "seen",
        }},
    }  # fmt: skip
    plant("JSON", "name", "PatientName", patient.name, needles=name_forms(patient.name)[0][1][1:])
    for keyword, kind, allowed in (
        ("PatientID", "id", ()), ("PatientBirthDate", "birth date", ()), ("AccessionNumber", "accession", ()),
        ("AcquisitionDateTime", "date", ("full-dates",)), ("AcquisitionTime", "time", ("full-dates", "modified-dates")),
        ("InstitutionName", "institution", ("institution",)), ("InstitutionAddress", "institution", ("institution",)),
        ("StationName", "device", ("device",)), ("DeviceSerialNumber", "device", ("device",)),
        ("StudyInstanceUID", "uid", ("uids",)), ("SeriesInstanceUID", "uid", ("uids",)),
    ):  # fmt: skip
        plant("JSON", kind, keyword, content[keyword], allowed=allowed)
    for name in (study.referring, study.operator):
        plant("JSON", "staff", "global.const", name, needles=name.split("^"))
    plant("JSON", "phone", "global.const.notes", patient.phone)
    for keyword in ("MagneticFieldStrength", "EchoTime", "RepetitionTime", "FlipAngle"):
        page.sheet.must_stay("basic", keyword, content[keyword])
    raw = json.dumps(content, ensure_ascii=escaped, indent=2).encode()
    return "json", "json", str(echo), raw


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(page: Page) -> tuple[str, str, str, bytes]:
    """Text chunks of all three kinds, EXIF, and bytes after the end."""
    array = page.picture(colour=page.number % 2 == 0)
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    raw = out.getvalue()
    latin = page.text("PNG", "tEXt", ascii_only=True).encode("latin-1")
    wide = page.name("PNG", "iTXt").encode()
    extra = chunk(b"tEXt", b"Author\0" + latin)
    extra += chunk(
        b"zTXt",
        b"Description\0\0" + zlib.compress(page.text("PNG", "zTXt", ascii_only=True).encode("latin-1")),
    )
    extra += chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(wide))
    extra += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(page, "PNG").encode())
    extra += chunk(b"eXIf", exif(page, "PNG"))
    extra += chunk(b"prVt", page.token("PNG", "private chunk").encode())
    end = raw.rindex(b"IEND") - 4
    raw = raw[:33] + extra + raw[33:end] + raw[end:] + page.token("PNG", "after IEND").encode()
    return "png", "png", f"{array.shape[0]}x{array.shape[1]}", raw


def xmp(page: Page, category: str) -> str:
    creator, day = (
        page.name(category, "XMP", 1),
        page.date(category, "XMP", lambda date: clock(date, "101112")),
    )
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:Description xmp:CreateDate="{day}"><dc:creator>{escape(creator)}</dc:creator>'
        "</rdf:Description></x:xmpmeta>"
    )


def exif(page: Page, category: str) -> bytes:
    """EXIF from the TIFF header on, with text, dates and a place."""
    made = Image.Exif()
    made[0x013B] = page.name(category, "EXIF Artist", -1).encode()
    made[0x010E] = page.text(category, "EXIF ImageDescription", ascii_only=True)
    made[0x013C] = page.token(category, "EXIF HostComputer")
    inner = made.get_ifd(0x8769)
    inner[0x9003] = page.date(
        category, "EXIF DateTimeOriginal", lambda date: f"{date[:4]}:{date[4:6]}:{date[6:]} 10:11:12"
    )
    inner[0x9286] = b"ASCII\0\0\0" + page.token(category, "EXIF UserComment").encode()
    inner[0xA431] = page.sheet.plant(
        category, "device", "EXIF BodySerialNumber", page.source.token(12), allowed=("device",)
    )
    place = made.get_ifd(0x8825)
    seconds = int(page.source.digits(8))
    place[1], place[2] = "N", (52.0, 31.0, seconds / 1e6)
    place[27] = b"ASCII\0\0\0" + page.token(category, "GPSProcessingMethod").encode()
    place[29] = page.date(category, "GPSDateStamp", lambda date: f"{date[:4]}:{date[4:6]}:{date[6:]}")
    return made.tobytes().removeprefix(b"Exif\0\0")


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def iptc(page: Page, category: str) -> bytes:
    """Photoshop's block of IPTC records: by-line, caption, city."""
    values = [
        (80, page.name(category, "IPTC", 1)),
        (120, page.text(category, "IPTC")),
        (90, page.token(category, "IPTC")),
    ]
    records = b"\x1c\x01\x5a\x00\x03\x1b%G"
    for number, text in values:
        records += struct.pack(">BBBH", 0x1C, 2, number, len(text.encode())) + text.encode()
    records += b"\0" * (len(records) % 2)
    return b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records


def jpeg(page: Page) -> tuple[str, str, str, bytes]:
    """EXIF with a thumbnail that has its own comment, XMP, IPTC, a comment, bytes after the end."""
    array = page.picture(colour=True)
    out, small = io.BytesIO(), io.BytesIO()
    Image.fromarray(array).save(out, "JPEG", quality=92)
    Image.fromarray(array[::8, ::8].copy()).save(
        small, "JPEG", comment=page.token("JPEG", "thumbnail").encode()
    )
    block = bytearray(exif(page, "JPEG"))
    order = "<" if block[:2] == b"II" else ">"
    block = with_thumbnail(block, order, small.getvalue())
    raw = out.getvalue()
    extra = segment(0xE1, b"Exif\0\0" + bytes(block))
    extra += segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(page, "JPEG").encode())
    extra += segment(0xED, iptc(page, "JPEG"))
    extra += segment(0xFE, page.text("JPEG", "comment").encode())
    extra += segment(0xEB, b"PRIV" + page.token("JPEG", "APP11").encode())
    raw = raw[:2] + extra + raw[2:] + page.token("JPEG", "after EOI").encode()
    return "jpg", "jpeg", f"{array.shape[0]}x{array.shape[1]}", raw


def with_thumbnail(block: bytearray, order: str, picture: bytes) -> bytearray:
    """Append IFD1 with the thumbnail and link it from the first."""
    start = struct.unpack_from(order + "I", block, 4)[0]
    count = struct.unpack_from(order + "H", block, start)[0]
    if len(block) % 2:
        block += b"\0"
    second = len(block)
    struct.pack_into(order + "I", block, start + 2 + 12 * count, second)
    block += struct.pack(order + "H", 3)
    for tag, kind, value in ((0x0103, 3, 6), (0x0201, 4, second + 2 + 36 + 4), (0x0202, 4, len(picture))):
        packed = struct.pack(order + "I", value) if kind == 4 else struct.pack(order + "HH", value, 0)
        block += struct.pack(order + "HHI", tag, kind, 1) + packed
    return block + b"\0\0\0\0" + picture


def tiff(page: Page) -> tuple[str, str, str, bytes]:
    """Two pages; text tags in both."""
    from PIL import TiffImagePlugin

    array = page.picture(colour=False)
    page.notes = []  # the second page has no text; what is burned into the first is not judged
    first, second = TiffImagePlugin.ImageFileDirectory_v2(), TiffImagePlugin.ImageFileDirectory_v2()
    first[270] = page.text("TIFF", "ImageDescription", ascii_only=True)
    first[315] = page.name("TIFF", "Artist", -1).encode()
    first[316] = page.token("TIFF", "HostComputer")
    first[306] = page.date("TIFF", "DateTime", lambda date: f"{date[:4]}:{date[4:6]}:{date[6:]} 09:10:11")
    first[285] = page.token("TIFF", "PageName")
    first[700] = xmp(page, "TIFF").encode()
    first[65000] = page.token("TIFF", "private tag")
    first.tagtype[65000] = 2
    second[270] = page.token("TIFF", "ImageDescription of page 2")
    out = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(out, new=True) as writer:
        Image.fromarray(array).save(writer, "TIFF", tiffinfo=first)
        writer.newFrame()
        Image.fromarray(array // 2).save(writer, "TIFF", tiffinfo=second)
    return "tif", "tiff", f"{array.shape[0]}x{array.shape[1]}", out.getvalue()


OTHERS: dict[str, Callable[[Page], tuple[str, str, str, bytes]]] = {
    "nii": lambda page: nifti(page, packed=False),
    "json": lambda page: sidecar(page, escaped=False),
    "nii.gz": lambda page: nifti(page, packed=True),
    "json-escaped": lambda page: sidecar(page, escaped=True),
    "png": png,
    "jpg": jpeg,
    "tif": tiff,
}
