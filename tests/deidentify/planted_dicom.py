"""What is planted into DICOM data sets, whatever their kind: at the top, nested, unknown, private, and around them."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deidentify.planted_key import File, Key, Sheet, Text
from deidentify.planted_people import Identifier, Patient, Source, Study, identifiers
from deidentify.planted_pixels import Line, burn, pack
from deidentify.planted_table import Row
from pydicom.charset import convert_encodings, encode_string
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
PHRASES = (
    "T2 FLAIR axial post contrast", "lesion left frontal lobe", "chest without contrast", "MPRAGE sagittal",
    "DWI b1000 ADC map", "abdomen portal venous phase", "knee lateral standing", "thyroid nodule",
    "cardiac four chamber view", "lumbar spine degenerative changes", "right upper lobe opacity",
    "follow-up after surgery", "arterial phase thin slices", "pelvis AP supine", "coronal reformat bone window",
    "mammography left MLO", "no evidence of fracture", "liver metastases", "carotid doppler", "renal cyst",
)  # fmt: skip
DESCRIPTORS = """
    StudyDescription SeriesDescription ImageComments PatientComments ProtocolName DerivationDescription
    PerformedProcedureStepDescription AcquisitionComments AdditionalPatientHistory
    RequestedProcedureDescription CommentsOnThePerformedProcedureStep StudyComments
    AcquisitionProtocolDescription ReasonForStudy FrameComments
""".split()  # noqa: SIM905
# Attributes with text that Table E.1-1 does not name.
OMITTED = """
    ManufacturerModelName SequenceName SoftwareVersions LUTExplanation WindowCenterWidthExplanation
    FilterType PositionReferenceIndicator StackID ContentDescription AcquisitionProtocolName
    ReceiveCoilName StageName ViewName Radiopharmaceutical Manufacturer ConvolutionKernel DocumentTitle
    HL7InstanceIdentifier SegmentLabel CodingSchemeResponsibleOrganization AlgorithmName
    CollimatorGridName BodyPartExamined LossyImageCompressionMethod AcquisitionDeviceProcessingCode
    PatientPosition DimensionDescriptionLabel TrackingID DataPathID FrameLaterality
""".split()  # noqa: SIM905
CHAINS = (
    # sequences that the table does not name, one in another
    ("ProcedureCodeSequence",),
    ("AnatomicRegionSequence", "AnatomicRegionModifierSequence"),
    ("RequestedProcedureCodeSequence",),
    ("ContributingEquipmentSequence", "PurposeOfReferenceCodeSequence"),
    ("ReferencedSeriesSequence", "ReferencedInstanceSequence", "PurposeOfReferenceCodeSequence"),
    ("ViewCodeSequence", "ViewModifierCodeSequence"),
    ("SharedFunctionalGroupsSequence", "FrameAnatomySequence", "AnatomicRegionSequence"),
    ("RadiopharmaceuticalInformationSequence", "RadionuclideCodeSequence"),
    ("ModalityLUTSequence",),
    ("ReferencedRTPlanSequence",),
)
KEPT = [
    "Modality",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "InstanceNumber",
    "SliceThickness",
    "KVP",
    "EchoTime",
    "RepetitionTime",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "SamplesPerPixel",
    "RescaleSlope",
    "RescaleIntercept",
    "SpacingBetweenSlices",
    "SOPClassUID",
    "Units",
    "NumberOfWaveformChannels",
]
WHOLE_DAYS = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
LINKS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
LONGEST = {"SH": 16, "CS": 16, "LO": 64, "AE": 16, "ST": 1024, "LT": 10240}
NO_PLANT = {  # made elsewhere, or too short for a needle
    0x00880200, 0x00420011, 0x0040A730, 0x04000561, 0xFFFAFFFA, 0x00101010, 0xFFFCFFFC, 0x00080201,
}  # fmt: skip


def path(*tags: int | str) -> str:
    """ "00081032[0].00080104" for the element of the last tag in the first items of the others."""
    numbers = [tag if isinstance(tag, int) else tag_for_keyword(tag) for tag in tags]
    return "[0].".join(f"{number:08X}" for number in numbers)


def vr_of(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return dictionary_VR(tag)


@dataclass
class Series:
    uid: str
    number: int
    modality: str


@dataclass
class Instance:
    """A data set under construction with its notes for the key."""

    dataset: Dataset
    sheet: Sheet
    patient: Patient
    study: Study
    source: Source
    kind: str
    texts: Iterator[Identifier]
    syntax: str = ExplicitVRLittleEndian
    preamble: bytes = b"\0" * 128
    trailing: bytes = b""
    meta: FileMetaDataset = field(default_factory=FileMetaDataset)

    def put(
        self,
        category: str,
        kind: str,
        keyword: str,
        value: str,
        *,
        needles=(),
        allowed=(),
        inside: tuple = (),
    ) -> None:
        """Set the attribute and note the plant; `inside`: the sequences that lead there."""
        setattr(innermost(self.dataset, inside), keyword, value)
        self.sheet.plant(category, kind, path(*inside, keyword), value, needles=needles, allowed=allowed)

    def put_text(self, category: str, keyword: str, *, inside: tuple = (), limit: int | None = None) -> None:
        """Clinical words and an identifier; the words alone are noted as such, where they fit."""
        vr = vr_of(keyword)
        text, words, found = self.sentence(min(limit or 1000, LONGEST.get(vr, 1000)), ascii_only=vr == "CS")
        self.put(
            category, found.kind, keyword, text, needles=found.needles, allowed=found.allowed, inside=inside
        )
        if words and keyword in DESCRIPTORS:
            self.sheet.words.append((path(*inside, keyword), words))

    def sentence(self, limit: int, *, ascii_only: bool = False) -> tuple[str, list[str], Identifier]:
        """A text of at most so many characters, its clinical words, and the identifier in it."""
        phrase = self.source.random.choice(PHRASES)
        for found in self.texts:
            if ascii_only and not found.text.isascii():
                continue
            pattern = self.source.random.choice(("{0}, {1}", "{1} {0}", "{0} ({1})", "{0} for {1}"))
            text = pattern.format(phrase, found.text)
            if len(text) <= limit:
                return text, phrase.split(), found
            if limit < 40 and len(found.text) <= limit:
                return found.text, [], found
        raise AssertionError

    def close(self, name: str, target: Path) -> None:
        """Write the file and its page of the key."""
        self._note_what_stays()
        self.write(target / name)
        data = self.dataset
        self.sheet.close(
            name,
            File(
                "dicom",
                self.kind,
                self.patient.label,
                int(data.InstanceNumber),
                str(data.SOPClassUID),
                str(self.syntax),
                {path(word): str(data.get(word)) for word in WHOLE_DAYS if data.get(word)},
                {path(word): str(data.get(word)) for word in LINKS if data.get(word)} | self.references(),
            ),
        )

    def references(self) -> dict[str, str]:
        """Paths and values of all UIDs of instances, series, studies and frames of reference that lie deeper."""
        return {
            where: str(element.value)
            for where, element in walk(self.dataset)
            if element.VR == "UI" and "." in where and element.keyword.endswith(LINKS)
        }  # fmt: skip

    def _note_what_stays(self) -> None:
        for keyword in KEPT:
            if keyword in self.dataset and self.dataset[keyword].value not in (None, ""):
                self.sheet.must_stay("basic", path(keyword), self.dataset[keyword].value)

    def write(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        data, meta = self.dataset, self.meta
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta = meta
        if self.syntax in COMPRESSED:
            data.compress(self.syntax, generate_instance_uid=False)
        elif self.syntax == ExplicitVRBigEndian and "PixelData" in data and data.BitsAllocated == 16:
            data.PixelData = swapped(data.PixelData)
        if not meta.TransferSyntaxUID.is_compressed or self.syntax == DeflatedExplicitVRLittleEndian:
            meta.TransferSyntaxUID = UID(self.syntax)
        data.preamble = self.preamble
        dcmwrite(target, data, enforce_file_format=True)
        if self.trailing:
            with open(target, "ab") as stream:
                stream.write(self.trailing)


def swapped(words: bytes) -> bytes:
    out = bytearray(len(words))
    out[0::2], out[1::2] = words[1::2], words[0::2]
    return bytes(out)


def innermost(data: Dataset, chain: tuple) -> Dataset:
    """The first item of the last sequence of the chain, made where it is missing."""
    for keyword in chain:
        if keyword not in data:
            setattr(data, keyword, Sequence([Dataset()]))
        data = data[keyword].value[0]
    return data


def walk(data: Dataset, before: str = "") -> Iterator[tuple[str, DataElement]]:
    """Every element with its path, sequences' items included."""
    for element in data:
        where = f"{before}{int(element.tag):08X}"
        yield where, element
        if element.VR == "SQ":
            for index, item in enumerate(element.value):
                yield from walk(item, f"{where}[{index}].")


def begin(
    key: Key,
    source: Source,
    patient: Patient,
    study: Study,
    series: Series,
    *,
    kind: str,
    sop_class: str,
    number: int,
) -> Instance:
    """A data set with the patient, study, series and equipment; everything that identifies is noted."""
    sheet = Sheet(key, patient.label, patient.charset)
    texts = identifiers(source, patient, study)
    for _ in range(source.random.randint(0, 15)):
        next(texts)
    one = Instance(Dataset(), sheet, patient, study, source, kind, texts)
    data = one.dataset
    if patient.charset != [""]:
        data.SpecificCharacterSet = patient.charset if len(patient.charset) > 1 else patient.charset[0]
    data.SOPClassUID, data.Modality = sop_class, series.modality
    data.Manufacturer, data.ManufacturerModelName, data.SoftwareVersions = "ACME", "Scanner 3000", "VB17"
    data.SeriesNumber, data.InstanceNumber, data.PatientSex = series.number, number, patient.sex
    one.put("core", "uid", "SOPInstanceUID", source.uid(), allowed=("uids",))
    one.sheet.plant("file meta", "uid", "00020003", data.SOPInstanceUID, allowed=("uids",))
    one.put("core", "uid", "StudyInstanceUID", study.uid, allowed=("uids",))
    one.put("core", "uid", "SeriesInstanceUID", series.uid, allowed=("uids",))
    one.put("core", "name", "PatientName", patient.name, needles=name_parts(patient.name))
    for keyword, kind_, value, option in (
        ("PatientID", "id", patient.id, None),
        ("PatientBirthDate", "birth date", patient.birth_date, None),
        ("AccessionNumber", "accession", study.accession, None),
        ("StudyID", "id", study.study_id, None),
        ("InstitutionName", "institution", patient.institution, "institution"),
        ("InstitutionAddress", "institution", patient.institution_address, "institution"),
        ("InstitutionalDepartmentName", "institution", patient.department, "institution"),
        ("StationName", "device", patient.station, "device"),
        ("DeviceSerialNumber", "device", patient.serial, "device"),
    ):
        one.put("core", kind_, keyword, value, allowed=(option,) if option else ())
        if option:
            one.sheet.must_stay(option, path(keyword), value)
    for keyword, value in (
        ("ReferringPhysicianName", study.referring), ("PerformingPhysicianName", study.performing),
        ("NameOfPhysiciansReadingStudy", study.reading), ("OperatorsName", study.operator),
    ):  # fmt: skip
        one.put("core", "staff", keyword, value, needles=name_parts(value))
    for keyword, value in zip(WHOLE_DAYS, (study.date, study.later, study.date, study.later), strict=True):
        one.put("core", "date", keyword, value, allowed=("full-dates",))
        one.sheet.must_stay("full-dates", path(keyword), value)
        one.sheet.must_stay("modified-dates", path(keyword), value, "shifted")
    one.put("core", "time", "StudyTime", study.time, allowed=("full-dates", "modified-dates"))
    age(one)
    one.put_text("descriptors", "StudyDescription")
    one.put_text("descriptors", "SeriesDescription")
    one.sheet.must_stay("patient", "00100040", patient.sex)
    return one


def age(one: Instance) -> None:
    """Ages of 90 and more identify, also when the patient's characteristics are kept."""
    years = one.patient.age(one.study)
    one.dataset.PatientAge = f"{years:03}Y"
    if years < 90:
        one.sheet.must_stay("patient", "00101010", one.dataset.PatientAge)
    else:
        value = f"{years:03}Y".encode()
        starts = (b"\x10\0\x10\x10AS\4\0", b"\x10\0\x10\x10\4\0\0\0", b"\0\x10\x10\x10AS\0\4")
        one.sheet.plant("age", "age", "00101010", value.decode(), needles=[start + value for start in starts])


def name_parts(name: str) -> list[str]:
    """The parts of a person name that betray it: family and given name of every group."""
    return [part for group in str(name).split("=") for part in group.split("^")[:2]]


def contact(one: Instance) -> None:
    """Where the patient lives and how to call: in a few files only, so that the others tell nothing of it."""
    for keyword, kind, value in (
        ("PatientAddress", "address", one.patient.address), ("PatientTelephoneNumbers", "phone", one.patient.phone),
        ("OtherPatientIDs", "id", one.patient.other_id), ("PatientTelecomInformation", "mail", one.patient.mail),
    ):  # fmt: skip
        one.put("core", kind, keyword, value)


# --- by Table E.1-1


def plant_row(one: Instance, row: Row, category: str, inside: tuple = ()) -> bool:
    """Plant a value that fits the row's VR; False where the attribute is there already or cannot be planted."""
    data = innermost(one.dataset, inside)
    group = row.tag >> 16
    if row.tag in data or row.tag in NO_PLANT or (group >= 0x5000 and group not in (0x5200, 0x5400)):
        return False
    if inside and row.vr == "SQ":
        return False
    if row.vr == "SQ":
        return plant_sequence_row(one, row, category)
    made = value_for(one, row)
    if made is None:
        return False
    kind, value, needles, allowed = made
    data.add_new(row.tag, row.vr, value)
    where = path(*inside, row.tag)
    shown = value if isinstance(value, str) else value.hex()
    one.sheet.plant(category, kind, where, shown, needles=needles, allowed=allowed)
    if not inside and not row.cleaned and row.vr not in ("AE", "OB", "OW", "UN"):
        note_options(one, row, where, shown)
    return True


def note_options(one: Instance, row: Row, where: str, value: str) -> None:
    for option in row.keeps:
        if option != "modified-dates":
            one.sheet.must_stay(option, where, value)
    if row.vr in ("DA", "DT") and "full-dates" in row.keeps:
        one.sheet.must_stay("modified-dates", where, value, "shifted")


def value_for(one: Instance, row: Row):
    """(kind, value, needles, options that allow it) for the VR of the row; None where nothing can be planted."""
    source, token = one.source, one.source.token
    if row.cleaned and row.vr in ("SH", "LO", "ST", "LT", "UT", "UC", "CS"):
        text, _, found = one.sentence(LONGEST.get(row.vr, 1000), ascii_only=row.vr == "CS")
        return found.kind, text, found.needles, found.allowed
    match row.vr:
        case "PN":
            name = source.person()
            return "staff", name, name_parts(name), row.keeps
        case "DA":
            value = source.date()
            return "date", value, [value], row.keeps
        case "TM":
            value = source.time()
            return "time", value, [value], row.keeps
        case "DT":
            day, clock = source.date(), source.time()
            return "date", day + clock, [day + clock, day + clock[:4]], row.keeps
        case "UI":
            value = source.uid()
            return "uid", value, [value], row.keeps
        case "DS":
            value = f"{source.random.randint(50, 99)}.{source.digits(9)}"
            return "number", value, [value], row.keeps
        case "IS":
            value = str(source.random.randint(1, 2)) + source.digits(8)
            return "number", value, [value], row.keeps
        case "CS":
            value = "Q" + source.token(9).upper() + "X"
            return "code", value, [value], row.keeps
        case "AE" | "SH":
            value = token(11)
            return "text", value, [value], row.keeps
        case "UR":
            value = f"https://pacs.{source.surname().lower()}.example/{token()}"
            return "text", value, [value, value.split("/")[-1]], row.keeps
        case "LO" | "ST" | "LT" | "UT" | "UC":
            value = token()
            return "text", f"{one.patient.hospital} {value}", [value], row.keeps
        case "OB" | "OW" | "UN":
            value = token(11)
            raw = b"\x01\0\xff\x00" + value.encode() + b"\0" + value.encode("utf-16-le")
            return "bytes", raw + b"\0" * (len(raw) % 2), [value], row.keeps
    return None


def plant_sequence_row(one: Instance, row: Row, category: str) -> bool:
    """A sequence that the table names: a code, a person and a UID in its item."""
    item = Dataset()
    one.dataset.add_new(row.tag, "SQ", Sequence([item]))
    plant = one.sheet.plant
    item.ReferencedSOPInstanceUID = plant(
        category, "uid", path(row.tag, "ReferencedSOPInstanceUID"), one.source.uid(), allowed=("uids",)
    )
    item.PersonName = one.source.person()
    plant(
        category,
        "staff",
        path(row.tag, "PersonName"),
        str(item.PersonName),
        needles=name_parts(item.PersonName),
    )
    if row.cleaned:
        text, _, found = one.sentence(64)
        item.CodeMeaning = text
        where = path(row.tag, "CodeMeaning")
        plant(category, found.kind, where, text, needles=found.needles, allowed=found.allowed)
        return True
    for keyword in ("CodeValue", "CodeMeaning"):
        setattr(
            item,
            keyword,
            plant(category, "text", path(row.tag, keyword), one.source.token(12), allowed=row.keeps),
        )
    item.CodingSchemeDesignator = "99LOCAL"
    return True


# --- the other places


def omitted(one: Instance, table: dict[int, Row], keyword: str) -> None:
    """An identifier in an attribute that the table does not name."""
    tag = tag_for_keyword(keyword)
    if any(plant.where == path(keyword) for plant in one.sheet.plants):
        return
    if tag in table or vr_of(keyword) not in ("SH", "LO", "ST", "LT", "UT", "CS", "UC"):
        return
    one.put_text("omitted", keyword)


def numbers(one: Instance) -> None:
    """The patient's number where a count or the UID of a vocabulary is expected, as some devices have it."""
    if not one.patient.id.isdigit():
        return
    if int(one.patient.id) < 2**31:
        one.put("omitted", "id", "AcquisitionNumber", one.patient.id)
    root = f"1.2.40.{one.patient.id}.7"
    one.put("omitted", "id", "CodingSchemeUID", root, needles=[one.patient.id])


def code_meaning(one: Instance, chain: tuple) -> None:
    """A name in the meaning of a local code, in a sequence that the table does not name."""
    item = innermost(one.dataset, chain)
    if "CodeMeaning" in item:
        return
    item.CodeValue, item.CodingSchemeDesignator = "L0815", "99LOCAL"
    one.put_text("nested", "CodeMeaning", inside=chain)


def unknown_element(one: Instance, row: Row) -> None:
    """An attribute of the table, written with VR UN."""
    if row.tag in one.dataset or row.vr not in ("LO", "SH", "PN", "DA", "UI"):
        return
    kind, value, needles, allowed = value_for(one, row)
    raw = encode_string(value, convert_encodings(one.patient.charset))
    one.dataset.add(DataElement(row.tag, "UN", raw + b" " * (len(raw) % 2)))
    one.sheet.plant("unknown VR", kind, path(row.tag), value, needles=needles, allowed=allowed)


def unknown_sequence(one: Instance, *, defined: bool) -> None:
    """A sequence with VR UN, its items in implicit little endian; of defined or undefined length."""
    if one.syntax == ExplicitVRBigEndian:
        return
    name, number, uid = one.source.person(), one.source.token(12), one.source.uid()
    inner = (
        element(0x00080050, number.encode())
        + element(0x00080090, name.encode())
        + element(0x00081155, uid.encode())
    )
    if defined:
        raw = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    else:
        raw = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    tag = 0x00081250 if defined else 0x00083010 + 0x100  # RelatedSeriesSequence; a tag that no dictionary has
    unknown = DataElement(tag, "UN", raw)
    unknown.is_undefined_length = not defined
    one.dataset.add(unknown)
    category = "unknown VR sequence"
    one.sheet.plant(category, "staff", path(tag), name, needles=name_parts(name))
    one.sheet.plant(category, "accession", path(tag), number)
    one.sheet.plant(category, "uid", path(tag), uid, allowed=("uids",))


def element(tag: int, value: bytes) -> bytes:
    """In implicit little endian."""
    value += b" " * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def private(one: Instance) -> None:
    """Private elements as devices write them: text, bytes, sequences in sequences, and one without a creator."""
    block = one.dataset.private_block(0x0029, "ACME HEADER 01", create=True)
    plant, token = one.sheet.plant, one.source.token
    block.add_new(0x08, "LO", f"{one.patient.hospital} {plant('private', 'text', '00291008', token())}")
    block.add_new(0x09, "PN", one.patient.name)
    plant("private", "name", "00291009", one.patient.name, needles=name_parts(one.patient.name))
    block.add_new(0x0A, "DA", plant("private", "date", "0029100A", one.source.date()))
    block.add_new(0x0B, "UI", plant("private", "uid", "0029100B", one.source.uid()))
    first, second = token(10), token(10)
    raw = b"SV10\4\3\2\1" + first.encode() + b"\0\xfe\xff" + second.encode("utf-16-le") + b"\0" * 7
    block.add_new(0x10, "OB", raw + b"\0" * (len(raw) % 2))
    plant("private", "bytes", "00291010", first)
    plant("private", "bytes", "00291010", second)
    block.add_new(0x11, "UN", (plant("private", "bytes", "00291011", token(12))).encode())
    inner, outer = Dataset(), Dataset()
    inner.PatientID = plant("private", "id", "00291012", token(10))
    deep = inner.private_block(0x0031, "ACME DEEP", create=True)
    deep.add_new(0x01, "ST", plant("private", "text", "00291012", token(10)))
    outer.add_new(0x00081140, "SQ", Sequence([inner]))
    block.add_new(0x12, "SQ", Sequence([outer]))
    one.dataset.add_new(0x00371099, "LO", plant("private", "text", "00371099", token(12)))


def safe_private(one: Instance) -> None:
    """Creators on the standard's list: a safe number that may stay, a safe text with a name, an unsafe one."""
    data, plant = one.dataset, one.sheet.plant
    siemens = data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    siemens.add_new(0x0C, "IS", "1000")
    siemens.add_new(
        0x08, "CS", plant("safe private creator", "text", "00191008", one.source.token(12).upper())
    )
    philips = data.private_block(0x2001, "Philips Imaging DD 001", create=True)
    philips.add_new(0x08, "IS", "3")
    text, _, found = one.sentence(64)
    philips.add_new(0x93, "LO", text)
    plant("safe private creator", found.kind, "20011093", text, needles=found.needles, allowed=found.allowed)
    item = Dataset()
    item.ReferencedSOPInstanceUID = one.source.uid()
    plant("safe private creator", "uid", "2001105F", item.ReferencedSOPInstanceUID, allowed=("uids",))
    item.PatientName = one.patient.name
    plant("safe private creator", "name", "2001105F", one.patient.name, needles=name_parts(one.patient.name))
    philips.add_new(0x5F, "SQ", Sequence([item]))
    pet = data.private_block(0x7053, "Philips PET Private Group", create=True)
    pet.add_new(0x00, "DS", "1.25")
    for where, value in (("0019100C", "1000"), ("20011008", "3"), ("70531000", "1.25")):
        one.sheet.must_stay("safe-private", where, value)


def overlay(one: Instance) -> None:
    data = one.dataset
    if "Rows" not in data or one.syntax == ExplicitVRBigEndian:
        return
    size = (data.Rows * data.Columns + 15) // 16 * 2
    data[0x60000010] = DataElement(0x60000010, "US", data.Rows)
    data[0x60000011] = DataElement(0x60000011, "US", data.Columns)
    data[0x60000040] = DataElement(0x60000040, "CS", "G")
    data[0x60000050] = DataElement(0x60000050, "SS", [1, 1])
    data[0x60000100] = DataElement(0x60000100, "US", 1)
    data[0x60000102] = DataElement(0x60000102, "US", 0)
    raw = b"\0\xf0\x0f\0" + one.patient.id.encode()
    data[0x60003000] = DataElement(0x60003000, "OW", raw.ljust(size, b"\0"))
    one.sheet.plant("overlay", "id", "60003000", one.patient.id)
    for tag, vr in ((0x60004000, "LT"), (0x60000022, "LO"), (0x60001500, "LO")):
        text, _, found = one.sentence(64)
        data.add_new(tag, vr, text)
        one.sheet.plant("overlay", found.kind, path(tag), text, needles=found.needles, allowed=found.allowed)


def curve(one: Instance) -> None:
    data = one.dataset
    if one.syntax == ExplicitVRBigEndian:
        return
    data[0x50000005] = DataElement(0x50000005, "US", 1)
    data[0x50000010] = DataElement(0x50000010, "US", 16)
    data[0x50000020] = DataElement(0x50000020, "CS", "TAC")
    raw = struct.pack("<4H", 1, 2, 3, 4) + one.patient.id.encode()
    data[0x50003000] = DataElement(0x50003000, "OW", raw.ljust(64, b"\0"))
    one.sheet.plant("curve", "id", "50003000", one.patient.id)
    for tag in (0x50000022, 0x50002500):
        text, _, found = one.sentence(64)
        data.add_new(tag, "LO", text)
        one.sheet.plant("curve", found.kind, path(tag), text, needles=found.needles, allowed=found.allowed)


def icon(one: Instance) -> None:
    item = Dataset()
    item.Rows = item.Columns = 16
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated = item.BitsStored = 8
    item.HighBit, item.PixelRepresentation = 7, 0
    item.PixelData = (
        one.sheet.plant("icon", "bytes", path("IconImageSequence", "PixelData"), one.source.token(12))
        .encode()
        .ljust(256, b"\7")
    )
    item["PixelData"].VR = "OB"
    item.ImageComments = one.sheet.plant(
        "icon", "text", path("IconImageSequence", "ImageComments"), one.source.token(12)
    )
    one.dataset.IconImageSequence = Sequence([item])


def signature(one: Instance) -> None:
    item = Dataset()
    chain = "DigitalSignaturesSequence"
    item.MACIDNumber, item.CertificateType = 1, "X509_1993_SIG"
    item.DigitalSignatureUID = one.sheet.plant(
        "signature", "uid", path(chain, "DigitalSignatureUID"), one.source.uid()
    )
    day = one.source.date()
    item.DigitalSignatureDateTime = day + "101500"
    one.sheet.plant("signature", "date", path(chain, "DigitalSignatureDateTime"), day + "101500")
    signer = one.source.surname()
    one.sheet.plant("signature", "staff", path(chain, "CertificateOfSigner"), signer)
    raw = b"0\x82\1\2CN=" + signer.encode()
    item.CertificateOfSigner = raw + b"\0" * (len(raw) % 2)
    item.Signature = bytes(range(64))
    one.dataset.DigitalSignaturesSequence = Sequence([item])


def original_attributes(one: Instance) -> None:
    chain = ("OriginalAttributesSequence", "ModifiedAttributesSequence")
    old = one.source.person()
    one.put("original attributes", "name", "PatientName", old, needles=name_parts(old), inside=chain)
    one.put("original attributes", "id", "PatientID", one.source.token(12), inside=chain)
    one.put("original attributes", "text", "SourceOfPreviousValues", one.source.token(12), inside=chain[:1])
    one.put("original attributes", "text", "ModifyingSystem", one.source.token(12), inside=chain[:1])
    day = one.source.date() + "081500"
    one.put("original attributes", "date", "AttributeModificationDateTime", day, inside=chain[:1])


def file_meta(one: Instance) -> None:
    plant, token = one.sheet.plant, one.source.token
    one.meta.SourceApplicationEntityTitle = plant("file meta", "device", "00020016", token(12))
    one.meta.SendingApplicationEntityTitle = plant("file meta", "device", "00020017", token(12))
    one.meta.SourcePresentationAddress = "http://" + plant(
        "file meta", "text", "00020026", token().lower() + ".example"
    )
    one.meta.PrivateInformationCreatorUID = plant("file meta", "uid", "00020100", one.source.uid())
    text = plant("file meta", "bytes", "00020102", token(12))
    one.meta.PrivateInformation = text.encode()
    one.meta.ImplementationVersionName = plant("file meta", "text", "00020013", token(10))


def preamble(one: Instance) -> None:
    text = one.sheet.plant("preamble", "text", "preamble", one.source.token(12))
    number = one.sheet.plant("preamble", "id", "preamble", one.patient.id)
    one.preamble = f"II*\0{text}\0{number}".encode().ljust(128, b"\0")


def trailing(one: Instance) -> None:
    """Bytes after the data set, and the padding element."""
    if one.syntax != DeflatedExplicitVRLittleEndian:
        text = one.sheet.plant("trailing", "text", "after the data set", one.source.token(12))
        one.trailing = text.encode() + b"\0" * 4
    else:
        padding = one.sheet.plant("trailing", "bytes", "FFFCFFFC", one.source.token(12))
        one.dataset[0xFFFCFFFC] = DataElement(0xFFFCFFFC, "OB", padding.encode().ljust(64, b"\0"))


def old_age(one: Instance) -> None:
    """An age over 89 in running text."""
    years = one.patient.age(one.study)
    if years < 90 or "AdditionalPatientHistory" in one.dataset:
        return
    written = one.source.random.choice(
        ("{}-year-old", "{} years old", "aged {} years", "{} y/o male")
    ).format(years)
    one.put("age", "age", "AdditionalPatientHistory", f"{written}, falls", needles=[written])


SPECIALS = (
    private, safe_private, overlay, curve, icon, signature, original_attributes, file_meta, preamble, trailing, old_age,
    numbers, lambda one: unknown_sequence(one, defined=True), lambda one: unknown_sequence(one, defined=False),
)  # fmt: skip


@dataclass
class Decorator:
    """Hands out the rows and the places in turns, so that every one comes up in some file."""

    table: dict[int, Row]
    random: random.Random
    per_file: int
    rows: list[Row] = field(init=False)
    files: int = 0
    row: int = 0
    word: int = 0

    def __post_init__(self) -> None:
        self.rows = sorted(self.table.values(), key=lambda row: row.tag)
        self.random.shuffle(self.rows)

    def next_row(self) -> Row:
        self.row += 1
        return self.rows[self.row % len(self.rows)]

    def __call__(self, one: Instance) -> None:
        share = self.per_file
        for _ in range(share):
            plant_row(one, self.next_row(), "table")
        for place in range(share // 3):
            chain = CHAINS[(self.files + place) % len(CHAINS)]
            plant_row(one, self.next_row(), "nested", chain)
        code_meaning(one, CHAINS[self.files % len(CHAINS)])
        for _ in range(2):
            unknown_element(one, self.next_row())
            self.word += 1
            keyword = DESCRIPTORS[self.word % len(DESCRIPTORS)]
            if keyword not in one.dataset:
                one.put_text("descriptors", keyword)
        for _ in range(3):
            self.word += 1
            omitted(one, self.table, OMITTED[self.word % len(OMITTED)])
        for turn in range(3):
            SPECIALS[(self.files * 3 + turn) % len(SPECIALS)](one)
        self.files += 1


# --- pixels


def image(one: Instance, frames, *, signed: bool = False, bits: int | None = None) -> None:
    """Pixel data from an array (rows, columns), (frames, rows, columns) or with three colours last."""
    data = one.dataset
    colour = frames.shape[-1] == 3
    shape = frames.shape[:-1] if colour else frames.shape
    data.Rows, data.Columns = shape[-2:]
    if len(shape) == 3:
        data.NumberOfFrames = shape[0]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = frames.dtype.itemsize * 8
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(signed)
    raw = frames.tobytes()
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    data["PixelData"].VR = "OW" if data.BitsAllocated > 8 else "OB"


def burn_in(one: Instance, frames, lines: list[Line], top: float, frame: int | None = None):
    """Write text into one picture or all frames; note it in the key."""
    picture = frames if frame is None and frames.ndim == 2 + (frames.shape[-1] == 3) else frames[frame or 0]
    written, notes = burn(picture, lines, top)
    for line, box, mask in notes:
        one.sheet.texts.append(Text("", frame, box, pack(mask), line.text, line.identifies))
    return written
