"""Burned-in text is found and blanked in pixels of every kind, and nothing else changes."""

import base64
import io
import json

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    VLWholeSlideMicroscopyImageStorage,
)
from scipy import ndimage

from medcli.deidentify import pixels
from medcli.deidentify.pixels import blank, clean, decoding, find_text, networks
from medcli.errors import FormatError, UsageError
from tests import unruly

TEXT = "DOE^JANE 1971-02-03"
ROWS, COLUMNS = 150, 330

needs_networks = pytest.mark.skipif(not networks.available(), reason="the extra `pixels` is not installed")
both_finders = pytest.mark.parametrize("finder", [pytest.param("networks", marks=needs_networks), "drawn"])


def anatomy(*, rows: int = ROWS, columns: int = COLUMNS, seed: int = 3) -> np.ndarray:
    """A noisy ellipse with soft blobs, 0 to 0.7, float."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    blobs = ndimage.gaussian_filter(random.normal(size=(rows, columns)), 7)
    body = (x**2 / 0.6 + y**2 / 0.7 < 1) * (0.3 + 1.5 * blobs)
    return np.clip(ndimage.gaussian_filter(body, 1) + random.normal(0, 0.01, body.shape), 0, 0.7)


def glyphs(text: str = TEXT, *, row: int = 12, column: int = 10, size: int = 20) -> np.ndarray:
    """Where the letters are, (ROWS, COLUMNS) bool."""
    canvas = Image.new("L", (COLUMNS, ROWS))
    ImageDraw.Draw(canvas).text((column, row), text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(canvas) > 96


def stored(values: np.ndarray, *, bits: int | None = None, photometric: str | None = None) -> Dataset:
    """An uncompressed image of (row, column) or (frame, row, column), with 3 samples where the last axis has 3."""
    colour = values.shape[-1] == 3
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "2.25.7"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    shape = values.shape[:-1] if colour else values.shape
    dataset.Rows, dataset.Columns = shape[-2:]
    if len(shape) == 3:
        dataset.NumberOfFrames = shape[0]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = photometric or ("RGB" if colour else "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    data = values.tobytes()
    dataset.add_new("PixelData", "OW" if dataset.BitsAllocated > 8 else "OB", data + b"\0" * (len(data) % 2))
    return dataset


def saved(dataset: Dataset) -> Dataset:
    """The dataset written to a file and read again."""
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    stream.seek(0)
    return pydicom.dcmread(stream)


def in_syntax(dataset: Dataset, syntax: UID) -> Dataset:
    if syntax == ExplicitVRBigEndian:
        swapped = np.frombuffer(dataset.PixelData, "<u2").byteswap()
        dataset.PixelData = swapped.tobytes()
    elif syntax == JPEGLosslessSV1:
        return by_itk(dataset)
    elif syntax == JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(dataset.pixel_array).save(stream, "JPEG", quality=90)
        dataset.PixelData = encapsulate([stream.getvalue()])
        if dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation = "YBR_FULL_422"
    elif syntax.is_encapsulated:
        options = {JPEGLSNearLossless: {"jls_error": 2}, JPEG2000: {"j2k_cr": [8]}}.get(syntax, {})
        if syntax in (JPEG2000, JPEG2000Lossless) and dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation = "YBR_RCT" if syntax == JPEG2000Lossless else "YBR_ICT"
        frames = [
            get_encoder(syntax).encode(dataset, index=index, **options)
            for index in range(int(dataset.get("NumberOfFrames", 1)))
        ]
        dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB" if syntax.is_encapsulated else dataset["PixelData"].VR
    dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    dataset.file_meta.TransferSyntaxUID = syntax
    return saved(dataset)


def by_itk(dataset: Dataset) -> Dataset:
    """Compressed by the one encoder of JPEG Lossless that is installed."""
    import tempfile

    import SimpleITK

    with tempfile.TemporaryDirectory() as folder:
        writer = SimpleITK.ImageFileWriter()
        writer.SetFileName(f"{folder}/a.dcm")
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(SimpleITK.GetImageFromArray(dataset.pixel_array[None]))
        read = pydicom.dcmread(f"{folder}/a.dcm")
        assert read.PixelData
    return read


def after(dataset: Dataset, cleaned: pixels.Cleaned) -> Dataset:
    """The dataset with what was cleaned put in, written and read again."""
    new = Dataset()
    new.file_meta = FileMetaDataset()
    new.file_meta.TransferSyntaxUID = UID(cleaned.transfer_syntax)
    new.SOPClassUID, new.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    for tag in [tag for tag in dataset._dict if tag.group == 0x0028]:
        new[tag] = dataset[tag]
    for tag, value in cleaned.dataset_changes.items():
        if value is None:
            new.pop(tag, None)
        else:
            vr = pydicom.datadict.dictionary_VR(tag)
            new.add_new(tag, vr, int.from_bytes(value, "little") if vr == "US" else value.decode())
    compressed = isinstance(cleaned.pixel_data, list)
    data = encapsulate(cleaned.pixel_data[1:]) if compressed else cleaned.pixel_data
    new.add_new("PixelData", cleaned.pixel_vr, data)
    new["PixelData"].is_undefined_length = compressed
    return saved(new)


def covered(cleaned: pixels.Cleaned, dataset: Dataset) -> np.ndarray:
    """(frame, row, column): what lies in the boxes."""
    mask = np.zeros((int(dataset.get("NumberOfFrames", 1)), dataset.Rows, dataset.Columns), bool)
    for frame, x0, y0, x1, y1 in cleaned.boxes:
        mask[frame, y0:y1, x0:x1] = True
    return mask


def check(dataset: Dataset, letters: np.ndarray, before: np.ndarray, *, finder: str = "auto") -> Dataset:
    """Clean; the letters are gone, all beyond the boxes is as it was decoded, the boxes are tight."""
    cleaned = clean(dataset, finder=finder)
    assert cleaned is not None
    new = after(dataset, cleaned)
    mask = covered(cleaned, dataset)
    shown = new.pixel_array.reshape(*mask.shape, *before.shape[len(letters.shape) :])
    before = before.reshape(shown.shape)
    letters = letters.reshape(-1, *letters.shape[-2:])
    assert mask[letters].mean() > 0.98
    assert np.array_equal(shown[~mask], before[~mask])
    assert (shown != before)[letters].mean() > 0.9
    assert mask.mean() < (4 if pixels.finder_in_use(finder) == "drawn" else 2) * box_share(letters)
    return new


def box_share(letters: np.ndarray) -> float:
    """The share of the picture that the letters' own box takes."""
    rows, columns = letters.any((0, 2)).nonzero()[0], letters.any((0, 1)).nonzero()[0]
    return np.ptp(rows) * np.ptp(columns) * letters.any((1, 2)).mean() / letters[0].size


def grey(top: int, dtype: type, *, letters: np.ndarray | None = None, value: int | None = None) -> np.ndarray:
    values = (anatomy() * top).astype(dtype)
    values[glyphs() if letters is None else letters] = top if value is None else value
    return values


# --- transfer syntaxes ---


@pytest.mark.parametrize(
    ("syntax", "kept"),
    [
        (ImplicitVRLittleEndian, ImplicitVRLittleEndian),
        (ExplicitVRLittleEndian, ExplicitVRLittleEndian),
        (DeflatedExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
        (ExplicitVRBigEndian, ExplicitVRLittleEndian),
        (RLELossless, RLELossless),
        (JPEGLSLossless, JPEGLSLossless),
        (JPEG2000Lossless, JPEG2000Lossless),
        (JPEG2000, JPEG2000Lossless),
        (JPEGLosslessSV1, JPEGLSLossless),
    ],
    ids=lambda syntax: syntax.name,
)
@both_finders
def test_sixteen_bits_in_every_transfer_syntax(syntax, kept, finder):
    dataset = in_syntax(stored(grey(2400, np.uint16), bits=16), syntax)
    before = next(decoding.stored(dataset).frames())
    new = check(dataset, glyphs(), before, finder=finder)
    assert new.file_meta.TransferSyntaxUID == kept


@pytest.mark.parametrize(
    ("syntax", "kept", "photometric"),
    [
        (ExplicitVRLittleEndian, ExplicitVRLittleEndian, "RGB"),
        (RLELossless, RLELossless, "RGB"),
        (JPEGLSLossless, JPEGLSLossless, "RGB"),
        (JPEG2000Lossless, JPEG2000Lossless, "YBR_RCT"),
        (JPEG2000, JPEG2000Lossless, "YBR_RCT"),
        (JPEGBaseline8Bit, JPEGLSLossless, "YBR_FULL"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
@needs_networks
def test_colour_in_every_transfer_syntax(syntax, kept, photometric):
    values = np.repeat(grey(255, np.uint8)[..., None], 3, axis=2)
    values[..., 2] //= 2
    dataset = in_syntax(stored(values), syntax)
    new = check(dataset, glyphs(), dataset.pixel_array)
    assert new.file_meta.TransferSyntaxUID == kept
    assert new.PhotometricInterpretation == photometric
    assert new.PlanarConfiguration == 0


@needs_networks
def test_what_was_lossy_says_so_afterwards():
    dataset = in_syntax(stored(grey(255, np.uint8)), JPEGBaseline8Bit)
    new = check(dataset, glyphs(), dataset.pixel_array)
    assert new.LossyImageCompression == "01"
    assert new.LossyImageCompressionMethod == "ISO_10918_1"
    assert new.LossyImageCompressionRatio > 1


@needs_networks
def test_what_was_lossless_does_not():
    new = check(in_syntax(stored(grey(255, np.uint8)), RLELossless), glyphs(), grey(255, np.uint8))
    assert "LossyImageCompression" not in new


@needs_networks
def test_near_lossless_values_are_kept_as_they_decode():
    dataset = in_syntax(stored(grey(255, np.uint8)), JPEGLSNearLossless)
    assert not np.array_equal(dataset.pixel_array, grey(255, np.uint8))
    check(dataset, glyphs(), dataset.pixel_array)


# --- values ---


@pytest.mark.parametrize(
    ("dtype", "top", "value"),
    [
        (np.uint8, 255, 255),
        (np.uint8, 255, 140),
        (np.uint16, 4095, 4095),
        (np.uint16, 600, 65535),  # far beyond the anatomy
        (np.int16, 1200, 32767),
        (np.int16, 1200, 900),
    ],
)
@both_finders
def test_bright_text_of_any_depth(dtype, top, value, finder):
    values = grey(top, dtype, value=value)
    check(stored(values), glyphs(), values, finder=finder)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@both_finders
def test_dark_text_on_a_bright_ground(photometric, finder):
    values = 4095 - grey(2000, np.uint16)
    values[glyphs()] = 0
    new = check(stored(values, bits=12, photometric=photometric), glyphs(), values, finder=finder)
    assert new.pixel_array[glyphs()].min() > 1000


@needs_networks
def test_palette_indices_stay_indices():
    values = grey(100, np.uint8, value=200)
    dataset = stored(values, photometric="PALETTE COLOR")
    ramp = np.arange(256, dtype=np.uint16) * 257
    ramp[200] = 65535
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", ramp.tobytes())
    cleaned = clean(dataset)
    new = np.frombuffer(cleaned.pixel_data, np.uint8)[: values.size].reshape(values.shape)
    mask = covered(cleaned, dataset)[0]
    assert mask[glyphs()].mean() > 0.98
    assert np.array_equal(new[~mask], values[~mask])
    assert set(np.unique(new[mask])) <= set(np.unique(values))
    assert 200 not in new


@needs_networks
def test_planes_become_pixels():
    values = np.repeat(grey(255, np.uint8)[..., None], 3, axis=2)
    dataset = stored(values)
    dataset.PixelData = np.ascontiguousarray(np.moveaxis(values, 2, 0)).tobytes()
    dataset.PlanarConfiguration = 1
    new = check(dataset, glyphs(), values)
    assert new.PlanarConfiguration == 0


@needs_networks
def test_text_that_runs_down_or_aslant():
    upright = np.rot90(glyphs(column=30, row=60, size=24)).astype(bool)
    canvas = np.zeros((COLUMNS, COLUMNS), bool)
    canvas[:, 40 : 40 + ROWS] = upright
    values = (anatomy(rows=COLUMNS) * 200).astype(np.uint8)
    values[canvas] = 255
    slanted = (
        ndimage.rotate(np.pad(glyphs().astype(float), ((90, 90), (0, 0))), 30, reshape=False, order=1) > 0.5
    )
    oblique = (anatomy(rows=COLUMNS) * 200).astype(np.uint8)
    oblique[slanted[:COLUMNS]] = 255
    for picture, letters in ((values, canvas), (oblique, slanted[:COLUMNS])):
        mask = np.zeros(picture.shape, bool)
        for x0, y0, x1, y1 in find_text(picture):
            mask[y0:y1, x0:x1] = True
        assert mask[letters].mean() > 0.97
        assert mask.mean() < 0.15


# --- frames ---


@needs_networks
def test_a_decoder_that_crashes_is_told(monkeypatch):
    dataset = in_syntax(stored(grey(4000, np.uint16)), JPEG2000Lossless)
    monkeypatch.setattr(decoding, "_by_pydicom", unruly.crash)
    with pytest.raises(
        FormatError, match=r"^the pixel data \(JPEG 2000 .*\): the library that reads it crashed"
    ):
        pixels.clean(dataset, finder="drawn")


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless], ids=lambda s: s.name
)
def test_every_frame_is_searched_and_only_frames_with_text_change(syntax):
    frames = np.stack([(anatomy(seed=seed) * 900).astype(np.uint16) for seed in range(5)])
    letters = np.zeros(frames.shape, bool)
    letters[1] = letters[2] = glyphs()
    letters[4] = glyphs("MRN 40912377", row=110, column=150)
    frames[letters] = 1000
    dataset = in_syntax(stored(frames, bits=16), syntax)
    cleaned = clean(dataset)
    assert {box[0] for box in cleaned.boxes} == {1, 2, 4}
    mask = covered(cleaned, dataset)
    new = after(dataset, cleaned).pixel_array
    assert min(mask[index][letters[index]].mean() for index in (1, 2, 4)) > 0.98
    assert np.array_equal(new[~mask], frames[~mask])


@needs_networks
def test_text_that_was_seen_once_is_blanked_wherever_it_still_stands(monkeypatch):
    from medcli.deidentify.pixels import dataset as whole

    frames = np.stack([grey(255, np.uint8)] * 3)
    frames[1:, 100:, 200:] += 7  # else the frames would be the same
    frames[2, 100:, 200:] += 7
    real, calls = whole.find_in, []

    def short_sighted(display, finder, **options):
        calls.append(1)
        return real(display, finder, **options) if len(calls) == 1 else []

    monkeypatch.setattr(whole, "find_in", short_sighted)
    assert {box[0] for box in clean(stored(frames)).boxes} == {0, 1, 2}


def test_equal_frames_are_searched_once(monkeypatch):
    from medcli.deidentify.pixels import dataset as whole

    calls = []
    monkeypatch.setattr(whole, "find_in", lambda *_, **__: calls.append(1) or [])
    assert clean(stored(np.stack([grey(255, np.uint8)] * 4))) is None
    assert len(calls) == 1


# --- nothing to find ---


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "image_dfl.dcm"]
)
@both_finders
def test_images_without_text_stay_as_they_are(name, finder):
    assert clean(pydicom.dcmread(get_testdata_file(name)), finder=finder) is None


@both_finders
def test_patterns_are_no_text(finder):
    random = np.random.default_rng(0)
    y, x = np.mgrid[:200, :260]
    patterns = [
        np.zeros((200, 260), np.uint8),
        random.integers(0, 4096, (200, 260), dtype=np.uint16),
        (x + y).astype(np.int16),
        ((x // 8 + y // 8) % 2 * 255).astype(np.uint8),
        ((y // 6) % 2 * 255).astype(np.uint8),
        (anatomy(rows=200, columns=260) * 3000).astype(np.int16),
        np.full((40, 40, 3), 200, np.uint8),
        np.full((50, 50), np.nan, np.float32),
    ]
    assert [find_text(pattern, finder=finder) for pattern in patterns] == [[]] * len(patterns)


@pytest.mark.parametrize("sop_class", [SegmentationStorage, UID("1.2.840.10008.5.1.4.1.1.481.2")])
def test_label_maps_and_dose_are_no_pictures(sop_class):
    dataset = stored(grey(255, np.uint8))
    dataset.SOPClassUID = sop_class
    assert clean(dataset) is None


# --- the rest of the contract ---


def test_a_slide_label_goes_whole():
    dataset = stored(grey(255, np.uint8))
    dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    cleaned = clean(dataset, finder="drawn")
    assert cleaned.boxes == [(0, 0, 0, COLUMNS, ROWS)]
    assert len(set(cleaned.pixel_data)) == 1


@needs_networks
def test_outside_ultrasound_regions_less_is_needed():
    values = (anatomy() * 200).astype(np.uint8)
    letters = glyphs("K", row=2, column=5, size=18)
    values[letters] = 255
    dataset = stored(values)
    assert clean(dataset) is None
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 60, 20
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = COLUMNS - 1, ROWS - 1
    dataset.SequenceOfUltrasoundRegions = [region]
    assert covered(clean(dataset), dataset)[0][letters].mean() > 0.95


def test_pixels_that_cannot_be_decoded_are_an_error_without_values():
    dataset = stored(grey(255, np.uint8))
    dataset.PatientName = "Secret^Name"
    dataset.PixelData = dataset.PixelData[:100]
    with pytest.raises(FormatError, match="cannot be decoded") as caught:
        clean(dataset)
    assert "Secret" not in str(caught.value)
    del dataset.file_meta.TransferSyntaxUID
    with pytest.raises(FormatError, match=r"\(0002,0010\)"):
        clean(dataset)


def test_without_the_extra_the_drawn_finder_works(monkeypatch):
    monkeypatch.setattr(networks, "available", lambda: False)
    assert pixels.finder_in_use() == "drawn"
    check(stored(grey(255, np.uint8)), glyphs(), grey(255, np.uint8))
    with pytest.raises(UsageError, match="extra `pixels`"):
        find_text(grey(255, np.uint8), finder="networks")
    with pytest.raises(UsageError, match="auto, networks, drawn"):
        find_text(grey(255, np.uint8), finder="magic")


def test_blank_takes_the_ground_around_the_box():
    picture = np.full((20, 30), 7, np.int16)
    picture[5:9, 4:20] = 99
    without = blank(picture, [(4, 5, 20, 9)])
    assert np.array_equal(without, np.full((20, 30), 7))
    assert without.dtype == np.int16
    assert picture.max() == 99  # the input is left alone
    colour = np.zeros((20, 30, 4), np.uint8)
    colour[...] = (10, 20, 30, 255)
    colour[5:9, 4:20, :3] = 255
    assert np.array_equal(
        np.unique(blank(colour, [(4, 5, 20, 9)]).reshape(-1, 4), axis=0), [[10, 20, 30, 255]]
    )


@needs_networks
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "uint16", "float32"])
def test_pictures_of_any_type(kind):
    values = grey(255, np.uint8)
    picture = {
        "RGB": np.repeat(values[..., None], 3, axis=2),
        "RGBA": np.dstack([values, values, values, np.full_like(values, 255)]),
        "uint16": values.astype(np.uint16) * 200,
        "float32": values.astype(np.float32) / 255,
    }[kind]
    mask = np.zeros(values.shape, bool)
    for x0, y0, x1, y1 in find_text(picture):
        mask[y0:y1, x0:x1] = True
    assert mask[glyphs()].mean() > 0.98


@both_finders
def test_three_real_files(shared_data, finder):
    folder = shared_data / "deid"
    key = json.loads((folder / "dicom_burned_in_key.json").read_text(encoding="utf-8"))
    for name in key["files"]:
        dataset = pydicom.dcmread(folder / "dicom" / name)
        cleaned = clean(dataset, finder=finder)
        mask = covered(cleaned, dataset)[0]
        before, new = dataset.pixel_array, after(dataset, cleaned).pixel_array
        assert np.array_equal(new[~mask], before[~mask])
        for plant in key["plants"]:
            if plant["file"] == name:
                x0, y0, x1, y1 = plant["box"]
                letters = np.asarray(Image.open(io.BytesIO(base64.b64decode(plant["mask"])))) > 0
                assert mask[y0:y1, x0:x1][letters].mean() > 0.98
