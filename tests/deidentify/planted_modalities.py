"""One DICOM object of every kind for the planted corpus, before identifiers of all sorts are added."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from deidentify.planted_dicom import Instance, Series, begin, burn_in, image, name_parts, path
from deidentify.planted_key import Key
from deidentify.planted_others import clinical_document, pdf_document
from deidentify.planted_people import Patient, Source, Study, date_forms, fold, name_forms
from deidentify.planted_pixels import Line, anatomy, fan
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

STORAGE = {
    "ct": "1.2.840.10008.5.1.4.1.1.2", "mr": "1.2.840.10008.5.1.4.1.1.4", "us": "1.2.840.10008.5.1.4.1.1.3.1",
    "cr": "1.2.840.10008.5.1.4.1.1.1", "dx": "1.2.840.10008.5.1.4.1.1.1.1", "emr": "1.2.840.10008.5.1.4.1.1.4.1",
    "ect": "1.2.840.10008.5.1.4.1.1.2.1", "sc": "1.2.840.10008.5.1.4.1.1.7",
    "rtstruct": "1.2.840.10008.5.1.4.1.1.481.3", "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "sr": "1.2.840.10008.5.1.4.1.1.88.22", "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
    "cda": "1.2.840.10008.5.1.4.1.1.104.2", "pet": "1.2.840.10008.5.1.4.1.1.128",
    "ecg": "1.2.840.10008.5.1.4.1.1.9.1.1", "pr": "1.2.840.10008.5.1.4.1.1.11.1",
}  # fmt: skip
MODALITY = {
    "emr": "MR", "ect": "CT", "sc": "OT", "pdf": "DOC", "cda": "DOC", "pet": "PT", "sr": "SR",
}  # fmt: skip


@dataclass
class Scene:
    """What the builders share: a patient's study, and the CT that others refer to."""

    key: Key
    source: Source
    patient: Patient
    study: Study
    pictures: np.random.Generator
    numbers: "Counter"
    series: dict[str, Series] = field(default_factory=dict)
    ct: list[Dataset] = field(default_factory=list)

    def begin(self, kind: str) -> Instance:
        if kind not in self.series:
            name = MODALITY.get(kind, kind.upper())
            self.series[kind] = Series(self.source.uid(), len(self.series) + 1, name)
        return begin(
            self.key, self.source, self.patient, self.study, self.series[kind],
            kind=kind, sop_class=STORAGE[kind], number=self.numbers.next(),
        )  # fmt: skip

    def size(self) -> tuple[int, int]:
        return int(self.pictures.integers(40, 72)), int(self.pictures.integers(40, 72))


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def next(self) -> int:
        self.value += 1
        return self.value


def frame_of_reference(scene: Scene, one: Instance) -> None:
    one.put("core", "uid", "FrameOfReferenceUID", scene.study.frame_of_reference, allowed=("uids",))


def volume_slice(scene: Scene, one: Instance, plane: int) -> None:
    data = one.dataset
    frame_of_reference(scene, one)
    data.ImagePositionPatient, data.ImageOrientationPatient = [-20.5, 12.25, 3.5 * plane], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [0.75, 0.5], 3.5


def ct(scene: Scene) -> Instance:
    one = scene.begin("ct")
    volume_slice(scene, one, len(scene.ct))
    one.dataset.KVP, one.dataset.RescaleSlope, one.dataset.RescaleIntercept = 120, 1, -1024
    one.dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image(one, (anatomy(scene.pictures, *scene.size()) * 2000).astype(np.uint16), bits=12)
    scene.ct.append(one.dataset)
    return one


def mr(scene: Scene) -> Instance:
    one = scene.begin("mr")
    volume_slice(scene, one, 0)
    one.dataset.EchoTime, one.dataset.RepetitionTime, one.dataset.SpacingBetweenSlices = 2.98, 2300, 1.1
    image(one, (anatomy(scene.pictures, *scene.size()) * 1500).astype(np.int16), signed=True)
    return one


def pet(scene: Scene) -> Instance:
    one = scene.begin("pet")
    volume_slice(scene, one, 0)
    one.dataset.Units = "BQML"
    chain = ("RadiopharmaceuticalInformationSequence",)
    start, stop = (scene.study.date + scene.source.time() for _ in range(2))
    for keyword, value in (
        ("RadiopharmaceuticalStartDateTime", start),
        ("RadiopharmaceuticalStopDateTime", stop),
    ):
        one.put("nested", "date", keyword, value, allowed=("full-dates",), inside=chain)
        one.sheet.must_stay("modified-dates", path(*chain, keyword), value, "shifted")
    one.dataset.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = 370000000
    image(one, (anatomy(scene.pictures, *scene.size()) * 3000).astype(np.uint16))
    return one


def banner(scene: Scene, one: Instance) -> list[str]:
    """What a device writes into its pictures: in Latin letters, whatever the patient's script."""
    patient, study = scene.patient, scene.study
    latin = [form for form, _ in name_forms(patient.name) if fold(form).isascii() and " " in form]
    name = scene.source.random.choice(latin) if latin else fold(study.referring).replace("^", " ")
    shown = "".join(letter for letter in name if ord(letter) < 0x180)
    dates = date_forms(patient.birth_date)
    return [
        shown,
        f"ID {patient.id}",
        f"DOB {dates[1]}",
        f"{date_forms(study.date)[2]} 10:21",
        f"Acc {study.accession}",
    ]


def us(scene: Scene) -> Instance:
    """Colour, three frames, a bar of text above the sector; the second frame has one line more."""
    one = scene.begin("us")
    words = banner(scene, one)
    rows, columns = 240, 360
    grey = np.stack([fan(scene.pictures, rows, columns) for _ in range(3)])
    frames = (grey[..., None].repeat(3, axis=-1) * 255).astype(np.uint8)
    lines = [
        Line(words[0], 3, 4, 13), Line(words[1], 19, 4, 12, colour=(255, 255, 0)),
        Line(words[2], 3, 220, 12, level=0.8), Line("Depth 12 cm", 222, 270, 12, identifies=False),
    ]  # fmt: skip
    for number in range(3):
        extra = [Line(words[3], 200, 8, 13, colour=(0, 255, 0))] if number == 1 else []
        frames[number] = burn_in(one, frames, lines + extra, 255, number)
    image(one, frames)
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 40, 36
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 320, 219
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.05
    one.dataset.SequenceOfUltrasoundRegions = Sequence([region])
    one.dataset.BurnedInAnnotation = "YES"
    return one


def us_regions_gone(scene: Scene) -> Instance:
    """The same without the regions that would tell where the picture ends."""
    one = us(scene)
    del one.dataset.SequenceOfUltrasoundRegions
    del one.dataset.BurnedInAnnotation
    return one


def cr(scene: Scene) -> Instance:
    """A film of 16 bits with a typed label."""
    one = scene.begin("cr")
    words = banner(scene, one)
    picture = (anatomy(scene.pictures, 300, 260, noise=0.02) * 4095).astype(np.uint16)
    lines = [
        Line(words[0], 4, 5, 14),
        Line(words[2], 22, 5, 13, level=0.9),
        Line("L", 30, 235, 18, identifies=False),
    ]
    image(one, burn_in(one, picture, lines, 4095), bits=12)
    one.dataset.PixelSpacing = [0.175, 0.175]
    return one


def dx(scene: Scene) -> Instance:
    """Without any text; every other one has a label low in the picture, over the anatomy."""
    one = scene.begin("dx")
    picture = (anatomy(scene.pictures, 280, 240) * 4000).astype(np.uint16)
    if one.dataset.InstanceNumber % 2:
        picture = burn_in(one, picture, [Line(banner(scene, one)[1], 215, 60, 16)], 4095)
    image(one, picture, bits=12)
    one.dataset.PixelSpacing = [0.15, 0.14]
    return one


def sc(scene: Scene) -> Instance:
    """A screen in grey: a dose report or a print-out, dark letters on light ground or the other way round."""
    one = scene.begin("sc")
    light = one.dataset.InstanceNumber % 2
    screen = np.full((200, 320), 225 if light else 18, np.uint8)
    lines = [
        Line(text, 8 + 22 * row, 10, 14, level=0.05 if light else 0.9)
        for row, text in enumerate(banner(scene, one))
    ]
    lines.append(Line("Total DLP 512 mGy cm", 160, 10, 14, 0.05 if light else 0.9, identifies=False))
    image(one, burn_in(one, screen, lines, 255))
    one.dataset.ConversionType = "WSD"
    return one


def enhanced(scene: Scene, kind: str) -> Instance:
    one = scene.begin(kind)
    frame_of_reference(scene, one)
    frames = np.stack([anatomy(scene.pictures, 44, 52) for _ in range(4)])
    image(one, (frames * 1800).astype(np.uint16), bits=12)
    shared, items = Dataset(), []
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 0.6], 2.5
    shared.PixelMeasuresSequence = Sequence([measures])
    one.dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    for index in range(4):
        item, content, place = Dataset(), Dataset(), Dataset()
        content.DimensionIndexValues, content.StackID = [1, index + 1], "1"
        place.ImagePositionPatient = [0.0, 0.0, 2.5 * index]
        item.FrameContentSequence, item.PlanePositionSequence = Sequence([content]), Sequence([place])
        items.append(item)
    one.dataset.PerFrameFunctionalGroupsSequence = Sequence(items)
    chain = ("PerFrameFunctionalGroupsSequence", "FrameContentSequence")
    for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
        value = scene.study.date + scene.source.time()
        one.put("nested", "date", keyword, value, allowed=("full-dates",), inside=chain)
        one.sheet.must_stay("modified-dates", path(*chain, keyword), value, "shifted")
    one.put_text("nested", "FrameComments", inside=chain)
    dimension = Dataset()
    dimension.DimensionOrganizationUID = one.sheet.plant(
        "nested", "uid", path("DimensionOrganizationSequence", "DimensionOrganizationUID"), scene.source.uid(),
        allowed=("uids",),
    )  # fmt: skip
    one.dataset.DimensionOrganizationSequence = Sequence([dimension])
    one.sheet.must_stay(
        "basic", path("SharedFunctionalGroupsSequence", "PixelMeasuresSequence", "SliceThickness"), "2.5"
    )
    return one


def referenced(one: Instance, data: Dataset, chain: tuple) -> Dataset:
    """An item that refers to an instance, with the UID noted."""
    item = Dataset()
    item.ReferencedSOPClassUID = data.SOPClassUID
    item.ReferencedSOPInstanceUID = data.SOPInstanceUID
    one.sheet.plant(
        "reference",
        "uid",
        path(*chain, "ReferencedSOPInstanceUID"),
        str(data.SOPInstanceUID),
        allowed=("uids",),
    )
    return item


def referenced_series(scene: Scene, one: Instance) -> None:
    """ReferencedSeriesSequence to the CT: a reference that must stay whole."""
    chain = ("ReferencedSeriesSequence", "ReferencedInstanceSequence")
    series = Dataset()
    series.SeriesInstanceUID = scene.ct[0].SeriesInstanceUID
    one.sheet.plant(
        "reference", "uid", path(chain[0], "SeriesInstanceUID"), series.SeriesInstanceUID, allowed=("uids",)
    )
    series.ReferencedInstanceSequence = Sequence([referenced(one, data, chain) for data in scene.ct[:1]])
    one.dataset.ReferencedSeriesSequence = Sequence([series])
    one.sheet.must_stay(
        "basic", path(*chain, "ReferencedSOPInstanceUID"), scene.ct[0].SOPInstanceUID, "present"
    )


def rtstruct(scene: Scene) -> Instance:
    one = scene.begin("rtstruct")
    data = one.dataset
    frame_of_reference(scene, one)
    one.put_text("descriptors", "StructureSetLabel")
    one.put("core", "date", "StructureSetDate", scene.study.later, allowed=("full-dates",))
    one.sheet.must_stay("modified-dates", path("StructureSetDate"), scene.study.later, "shifted")
    roi = Dataset()
    roi.ROINumber, roi.ROIGenerationAlgorithm = 1, "MANUAL"
    roi.ReferencedFrameOfReferenceUID = scene.study.frame_of_reference
    data.StructureSetROISequence = Sequence([roi])
    chain = ("StructureSetROISequence",)
    one.sheet.plant(
        "reference",
        "uid",
        path(*chain, "ReferencedFrameOfReferenceUID"),
        roi.ReferencedFrameOfReferenceUID,
        allowed=("uids",),
    )
    one.put_text("nested", "ROIName", inside=chain)
    contour, contours = Dataset(), Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 3
    contour.ContourData = [1.5, 2.5, 3.5, 4.25, 5.5, 3.5, 7.5, 1.25, 3.5]
    at = ("ROIContourSequence", "ContourSequence", "ContourImageSequence")
    contour.ContourImageSequence = Sequence([referenced(one, scene.ct[0], at)])
    contours.ReferencedROINumber, contours.ContourSequence = 1, Sequence([contour])
    data.ROIContourSequence = Sequence([contours])
    one.sheet.must_stay("basic", path(*at[:2], "ContourData"), contour.ContourData)
    one.sheet.must_stay("basic", path(*at, "ReferencedSOPInstanceUID"), scene.ct[0].SOPInstanceUID, "present")
    observer = scene.source.person()
    seen = ("RTROIObservationsSequence",)
    one.put("nested", "staff", "ROIInterpreter", observer, needles=name_parts(observer), inside=seen)
    data.RTROIObservationsSequence[0].ObservationNumber = data.RTROIObservationsSequence[
        0
    ].ReferencedROINumber = 1
    return one


def seg(scene: Scene) -> Instance:
    one = scene.begin("seg")
    frame_of_reference(scene, one)
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 20:40, 18:44] = 1
    image(one, mask)
    data = one.dataset
    data.SegmentationType = "FRACTIONAL"
    data.SegmentationFractionalType, data.MaximumFractionalValue = "OCCUPANCY", 1
    chain = ("SegmentSequence",)
    one.put_text("nested", "SegmentDescription", inside=chain)
    one.put_text("nested", "SegmentLabel", inside=chain)
    data.SegmentSequence[0].SegmentNumber, data.SegmentSequence[0].SegmentAlgorithmType = 1, "MANUAL"
    creator = scene.source.person()
    one.put("core", "staff", "ContentCreatorName", creator, needles=name_parts(creator))
    data.ContentLabel = "SEGMENTATION"
    referenced_series(scene, one)
    at = ("PerFrameFunctionalGroupsSequence", "DerivationImageSequence", "SourceImageSequence")
    derivation, frame = Dataset(), Dataset()
    derivation.SourceImageSequence = Sequence([referenced(one, scene.ct[0], at)])
    frame.DerivationImageSequence = Sequence([derivation])
    data.PerFrameFunctionalGroupsSequence = Sequence([frame])
    return one


def coded(value: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return Sequence([item])


def sr(scene: Scene) -> Instance:
    """A report: text, a person, a date, a UID, a number that is worth keeping, and a reference."""
    one = scene.begin("sr")
    data, plant = one.dataset, one.sheet.plant
    data.ValueType, data.CompletionFlag, data.VerificationFlag = "CONTAINER", "COMPLETE", "VERIFIED"
    data.ContinuityOfContent, data.ConceptNameCodeSequence = (
        "SEPARATE",
        coded("126000", "Imaging Measurement Report"),
    )
    items: list[Dataset] = []

    def add(kind: str, code: str, meaning: str) -> tuple[Dataset, str]:
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", kind
        item.ConceptNameCodeSequence = coded(code, meaning)
        items.append(item)
        return item, f"0040A730[{len(items) - 1}]."

    for code, meaning in (("121071", "Finding"), ("121106", "Comment"), ("121073", "Impression")):
        item, at = add("TEXT", code, meaning)
        item.TextValue, _, found = one.sentence(500)
        plant("SR", found.kind, at + "0040A160", item.TextValue, needles=found.needles, allowed=found.allowed)
    item, at = add("PNAME", "121008", "Person Observer Name")
    item.PersonName = scene.source.person()
    plant("SR", "staff", at + "0040A123", str(item.PersonName), needles=name_parts(item.PersonName))
    item, at = add("PNAME", "121029", "Subject Name")
    item.PersonName = scene.patient.name
    plant("SR", "name", at + "0040A123", str(item.PersonName), needles=name_parts(scene.patient.name))
    item, at = add("DATE", "121031", "Subject Birth Date")
    item.Date = plant("SR", "birth date", at + "0040A121", scene.patient.birth_date, allowed=("full-dates",))
    item, at = add("DATETIME", "111526", "DateTime Started")
    item.DateTime = plant(
        "SR", "date", at + "0040A120", scene.source.date() + "101112", allowed=("full-dates",)
    )
    item, at = add("UIDREF", "112039", "Tracking Unique Identifier")
    item.UID = plant("SR", "uid", at + "0040A124", scene.source.uid(), allowed=("uids",))
    item, at = add("CONTAINER", "125007", "Measurement Group")
    inner = Dataset()
    inner.RelationshipType, inner.ValueType = "CONTAINS", "TEXT"
    inner.ConceptNameCodeSequence = coded("112040", "Tracking Identifier")
    inner.TextValue, _, found = one.sentence(200)
    plant(
        "SR",
        found.kind,
        at + "0040A730[0].0040A160",
        inner.TextValue,
        needles=found.needles,
        allowed=found.allowed,
    )
    item.ContentSequence = Sequence([inner])
    item, at = add("NUM", "410668003", "Length")
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "17.25", coded("mm", "millimeter")
    item.MeasuredValueSequence = Sequence([measured])
    one.sheet.must_stay("structured", at + "0040A300[0].0040A30A", "17.25")
    one.sheet.must_stay("structured", "0040A730[0].0040A043[0].00080104", "Finding")
    item, at = add("IMAGE", "121112", "Source of Measurement")
    reference = Dataset()
    reference.ReferencedSOPClassUID = scene.ct[0].SOPClassUID
    reference.ReferencedSOPInstanceUID = plant(
        "reference", "uid", at + "00081199[0].00081155", scene.ct[0].SOPInstanceUID, allowed=("uids",)
    )
    item.ReferencedSOPSequence = Sequence([reference])
    data.ContentSequence = Sequence(items)
    chain = ("VerifyingObserverSequence",)
    who, day = scene.source.person(), scene.source.date() + "090807"
    one.put("core", "staff", "VerifyingObserverName", who, needles=name_parts(who), inside=chain)
    one.put("core", "institution", "VerifyingOrganization", scene.source.token(12), inside=chain)
    one.put("core", "date", "VerificationDateTime", day, allowed=("full-dates",), inside=chain)
    return one


def pdf(scene: Scene) -> Instance:
    one = scene.begin("pdf")
    raw = pdf_document(
        one.sheet, scene.source, scene.patient, scene.study, where=path("EncapsulatedDocument")
    )
    one.dataset.EncapsulatedDocument = raw + b"\0" * (len(raw) % 2)
    one.dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    one.put_text("descriptors", "DocumentTitle")
    return one


def cda(scene: Scene) -> Instance:
    one = scene.begin("cda")
    raw = clinical_document(
        one.sheet, scene.source, scene.patient, scene.study, where=path("EncapsulatedDocument")
    )
    one.dataset.EncapsulatedDocument = raw + b" " * (len(raw) % 2)
    one.dataset.MIMETypeOfEncapsulatedDocument = "text/XML"
    one.put(
        "core",
        "id",
        "HL7InstanceIdentifier",
        f"{scene.source.uid()}^{scene.patient.id}",
        needles=(scene.patient.id,),
    )
    return one


def ecg(scene: Scene) -> Instance:
    one = scene.begin("ecg")
    wave, channel = Dataset(), Dataset()
    channel.ChannelSensitivity, channel.WaveformBitsStored = 1.25, 16
    channel.ChannelSourceSequence = coded("2:1", "Lead I")
    wave.WaveformOriginality, wave.NumberOfWaveformChannels, wave.NumberOfWaveformSamples = "ORIGINAL", 1, 200
    wave.SamplingFrequency, wave.ChannelDefinitionSequence = 500, Sequence([channel])
    wave.WaveformBitsAllocated, wave.WaveformSampleInterpretation = 16, "SS"
    wave.WaveformData = (np.sin(np.arange(200) / 7) * 900).astype("<i2").tobytes()
    wave["WaveformData"].VR = "OW"
    one.dataset.WaveformSequence = Sequence([wave])
    one.put_text("nested", "ChannelLabel", inside=("WaveformSequence", "ChannelDefinitionSequence"))
    one.put_text("nested", "UnformattedTextValue", inside=("WaveformAnnotationSequence",))
    one.sheet.must_stay("basic", "54000100[0].003A001A", "500")
    return one


def pr(scene: Scene) -> Instance:
    """A presentation state: text drawn over the image, and who drew it."""
    one = scene.begin("pr")
    data = one.dataset
    data.ContentLabel = "MEASURES"
    one.put_text("omitted", "ContentDescription")
    creator = scene.source.person()
    one.put("core", "staff", "ContentCreatorName", creator, needles=name_parts(creator))
    one.put("core", "date", "PresentationCreationDate", scene.study.later, allowed=("full-dates",))
    one.sheet.must_stay("modified-dates", path("PresentationCreationDate"), scene.study.later, "shifted")
    chain = ("GraphicAnnotationSequence", "TextObjectSequence")
    one.put_text("graphics", "UnformattedTextValue", inside=chain)
    data.GraphicAnnotationSequence[0].GraphicLayer = "LAYER1"
    referenced_series(scene, one)
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = "LAYER1", 1
    data.GraphicLayerSequence = Sequence([layer])
    one.put_text("graphics", "GraphicLayerDescription", inside=("GraphicLayerSequence",))
    return one


BUILDERS: dict[str, Callable[[Scene], Instance]] = {
    "ct": ct, "mr": mr, "us": us, "us2": us_regions_gone, "cr": cr, "dx": dx, "sc": sc, "pet": pet,
    "emr": lambda scene: enhanced(scene, "emr"), "ect": lambda scene: enhanced(scene, "ect"),
    "rtstruct": rtstruct, "seg": seg, "sr": sr, "pdf": pdf, "cda": cda, "ecg": ecg, "pr": pr,
}  # fmt: skip
PIXELS = {"ct", "mr", "us", "us2", "cr", "dx", "sc", "pet", "emr", "ect", "seg"}
