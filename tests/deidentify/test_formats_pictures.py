"""PNG, JPEG and TIFF: what makes the picture stays byte for byte, of the rest no more than readers need."""

import io
import struct
import sys
import types
import zlib

import numpy as np
import pytest
import tifffile
from deidentify.format_files import (
    DOCTOR,
    SECRET,
    TEXT,
    chunk,
    cleaned,
    exif,
    jpeg,
    left,
    png,
    png_with,
    profile,
    samples,
    segment,
    tiff,
    tiff_by_pillow,
    tiff_with,
)  # fmt: skip
from PIL import Image, ImageCms

from medcli.deidentify.formats import icc, scanlines
from medcli.deidentify.formats.png import read as read_png
from medcli.errors import FormatError

pytestmark = pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO file")  # which it is


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def same_picture(old: bytes, new: bytes) -> bool:
    """Every frame in the same mode, with the same values and palette."""
    with opened(old) as first, opened(new) as second:
        if getattr(first, "n_frames", 1) != getattr(second, "n_frames", 1):
            return False
        for index in range(getattr(first, "n_frames", 1)):
            first.seek(index)
            second.seek(index)
            if first.mode != second.mode or not np.array_equal(np.asarray(first), np.asarray(second)):
                return False
            if first.mode == "P" and first.getpalette() != second.getpalette():
                return False
    return True


def of_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(samples(23, 31, dtype=np.uint16))
    picture = Image.fromarray(samples(23, 31, 4), "RGBA")
    return picture.convert("RGB").quantize(11) if mode == "P" else picture.convert(mode)


def saved(picture: Image.Image, kind: str, **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


# --- PNG ----------------------------------------------------------------------------------------------------------


def names(content: bytes) -> list[bytes]:
    return [part.name for part in read_png(content)[0]]


def data_of(content: bytes, name: bytes) -> bytes:
    return b"".join(part.data for part in read_png(content)[0] if part.name == name)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_data_stay_byte_for_byte(mode):
    content = saved(of_mode(mode), "PNG", pnginfo=None)
    assert cleaned(content).content == content


def test_png_keeps_the_chunks_of_the_picture_alone():
    new = cleaned(png()).content
    assert names(new) == [b"IHDR", b"iCCP", b"pHYs", b"IDAT", b"IEND"]
    assert data_of(new, b"IDAT") == data_of(png(), b"IDAT")
    assert same_picture(png(), new)
    assert new.endswith(b"IEND\xaeB`\x82")


def test_png_keeps_transparency_palette_and_scale():
    picture = of_mode("P")
    content = saved(picture, "PNG", transparency=3, bits=4)
    extra = chunk(b"sCAL", b"\x010.0025\x000.0025") + chunk(b"sRGB", b"\0")
    content = content[:33] + extra + content[33:]
    assert cleaned(content).content == content


def test_how_a_png_is_turned_is_kept_and_nothing_else_of_its_exif():
    new = cleaned(png(turned=6)).content
    assert opened(new).getexif() == {0x0112: 6}
    assert len(data_of(new, b"eXIf")) == 26


def test_bytes_hidden_behind_png_data_go():
    hidden = chunk(b"IDAT", TEXT.encode())
    content = png_with(samples(9, 8), b"")
    end = content.rindex(b"IEND") - 4
    result = cleaned(content[:end] + hidden + content[end:])
    assert result.content == content
    assert result.notes == ["bytes hidden behind the picture's data were removed"]


def test_lines_hidden_below_a_png_go():
    array = samples(9, 8)
    lines = np.hstack([np.zeros((9, 1), np.uint8), array]).tobytes() + TEXT.encode()
    header = chunk(b"IHDR", struct.pack(">2I5B", 8, 9, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    new = cleaned(content).content
    assert np.array_equal(np.asarray(opened(new)), array)
    assert zlib.decompress(data_of(new, b"IDAT")) == lines[:81]


def test_animated_png_keeps_its_frames():
    frames = [Image.fromarray(samples(12, 10, 3) // number) for number in (1, 2, 3)]
    content = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=40)
    new = cleaned(content + TEXT.encode()).content
    assert opened(new).n_frames == 3
    assert same_picture(content, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [(b"IDAT", b"IDAX", "checksum"), (b"\n\0\0\0\rIHDR", b"\n\0\0\0\x0eIHDR", "checksum|cut off")],
)
def test_damaged_png_is_refused(old, new, said):
    with pytest.raises(FormatError, match=said):
        cleaned(png_with(samples(9, 8), b"").replace(old, new))


def test_png_with_too_few_pixels_or_unknown_critical_chunks_is_refused():
    start, end = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 8, 9, 8, 0, 0, 0, 0)),
        chunk(b"IEND", b""),
    )
    with pytest.raises(FormatError, match="fewer pixels"):
        cleaned(start + chunk(b"IDAT", zlib.compress(bytes(80))) + end)
    with pytest.raises(FormatError, match="critical"):
        cleaned(png_with(samples(9, 8), chunk(b"CgBI", b"1234")))


def interlaced(array: np.ndarray, depth: int, colour: int, palette: bytes = b"") -> bytes:
    """A PNG of Adam7, written as the standard says it, every line without a filter."""
    lines = b""
    for row, column, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        for line in array[row::down, column::right]:
            if line.size:
                bits = "".join(f"{value:0{depth}b}" for value in line.reshape(-1))
                bits += "0" * (-len(bits) % 8)
                lines += b"\0" + bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    header = struct.pack(">2I5B", array.shape[1], array.shape[0], depth, colour, 0, 0, 1)
    chunks = chunk(b"IHDR", header) + (chunk(b"PLTE", palette) if palette else b"")
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 4), (4, 8), (6, 16)]
)
def test_every_kind_of_png_is_decoded_and_encoded_exactly(colour, depth):
    channels = {0: (), 2: (3,), 3: (), 4: (2,), 6: (4,)}[colour]
    array = (samples(11, 13, *channels, dtype=np.uint16) >> (16 - depth)).astype(
        np.uint16 if depth == 16 else np.uint8
    )
    content = interlaced(array, depth, colour, bytes(range(48)) if colour == 3 else b"")
    chunks = read_png(content)[0]
    picture = scanlines.Picture.read(chunks[0].data, bytes(range(48)))
    decoded = scanlines.decode(zlib.decompress(data_of(content, b"IDAT")), picture)
    assert np.array_equal(decoded, array)
    plain = scanlines.Picture.read(picture.header(interlaced=False), bytes(range(48)))
    assert np.array_equal(scanlines.decode(scanlines.encode(array, plain), plain), array)
    opened(content).load()
    assert cleaned(content).content == content


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_all_filters_of_png_are_undone(mode):
    smooth = np.add.outer(np.arange(40) * 2, np.arange(37)) + samples(40, 37) // 60
    picture = Image.fromarray(smooth.astype(np.uint16 if mode == "I;16" else np.uint8))
    picture = picture if mode in ("L", "I;16") else picture.convert(mode)
    content = saved(picture, "PNG")
    decoder = scanlines.Picture.read(read_png(content)[0][0].data, b"")
    data = zlib.decompress(data_of(content, b"IDAT"))
    kinds = set(data[:: decoder.line(decoder.width) + 1])
    assert len(kinds) > 1
    assert np.array_equal(scanlines.decode(data, decoder), np.asarray(picture))


# --- colour profiles ----------------------------------------------------------------------------------------------


def test_a_colour_profile_without_its_texts_gives_the_same_colours():
    old, new = profile(), icc.without_texts(profile())
    assert SECRET.encode() in old and SECRET.encode() not in new
    picture, lab = Image.fromarray(samples(20, 30, 3)), ImageCms.createProfile("LAB")
    results = []
    for content in (old, new):
        source = ImageCms.ImageCmsProfile(io.BytesIO(content))
        transform = ImageCms.buildTransform(source, ImageCms.ImageCmsProfile(lab), "RGB", "LAB")
        results.append(np.asarray(ImageCms.applyTransform(picture, transform)))
    assert np.array_equal(*results)


def test_a_colour_profile_holds_no_date_and_no_device():
    new = icc.without_texts(profile())
    assert struct.unpack(">6H", new[24:36]) == (2000, 1, 1, 0, 0, 0)
    assert new[4:8] == new[48:52] == new[80:84] == bytes(4)


@pytest.mark.parametrize("content", [b"", b"x" * 200, profile()[:300]])
def test_an_unreadable_colour_profile_is_dropped_and_it_is_said(content):
    assert icc.without_texts(content) is None
    result = cleaned(png_with(samples(9, 8), chunk(b"iCCP", b"x\0\0" + zlib.compress(content))))
    assert b"iCCP" not in result.content
    assert result.notes == ["a colour profile that cannot be read was removed"]


# --- JPEG ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_blocks": 2}]
)
def test_jpeg_coding_stays_byte_for_byte(how):
    content, plain = jpeg(**how), saved(Image.fromarray(samples(40, 56, 3)), "JPEG", **how)
    new = cleaned(content).content
    assert plain[20:] in new
    assert same_picture(content, new)


def test_a_plain_jpeg_stays_as_it_is():
    content = saved(Image.fromarray(samples(40, 56)), "JPEG", dpi=(72, 96))
    assert cleaned(content).content == content


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_colours_and_density_stay(mode):
    new = cleaned(jpeg(mode=mode, dpi=(72, 96))).content
    assert same_picture(jpeg(mode=mode, dpi=(72, 96)), new)
    if mode != "CMYK":
        assert opened(new).info["dpi"] == (72, 96)


def test_how_a_jpeg_is_turned_is_kept_and_nothing_else_of_its_exif():
    new = cleaned(jpeg(turned=8)).content
    assert opened(new).getexif() == {0x0112: 8}
    assert new[20:30] == b"\xff\xe1\0\x22Exif\0\0"
    assert opened(cleaned(jpeg(turned=1)).content).getexif() == {}


def test_a_thumbnail_in_jfif_goes():
    content = saved(Image.fromarray(samples(40, 56)), "JPEG")
    small = segment(0xE0, content[6:18] + b"\x05\x05" + (TEXT.encode() * 3)[:75])
    result = cleaned(content[:2] + small + content[20:])
    assert result.content == content
    assert result.actions == {"APP0 JFIF": "thumbnail removed"}


def test_a_jpeg_with_texts_behind_its_tables_is_refused():
    content = saved(Image.fromarray(samples(40, 56)), "JPEG")
    place = content.index(b"\xff\xdb")
    (length,) = struct.unpack_from(">H", content, place + 2)
    longer = (
        struct.pack(">H", length + len(DOCTOR)) + content[place + 4 : place + 2 + length] + DOCTOR.encode()
    )
    with pytest.raises(FormatError, match="segment"):
        cleaned(content[: place + 2] + longer + content[place + 2 + length :])


def test_a_jpeg_without_its_end_is_refused():
    content = saved(Image.fromarray(samples(40, 56)), "JPEG")
    for cut in (2, 40, 400):
        with pytest.raises(FormatError, match="EOI"):
            cleaned(content[:-cut])


# --- TIFF ---------------------------------------------------------------------------------------------------------

STACK = samples(3, 21, 34, dtype=np.uint16)
STACKS = {
    "strips": {"rowsperstrip": 5}, "tiles": {"tile": (16, 16)}, "big": {"bigtiff": True},
    "other order": {"byteorder": ">"},
    "big, other order": {"bigtiff": True, "byteorder": ">"}, "deflate": {"compression": "zlib", "predictor": True},
    "shaped": {"metadata": {"axes": "ZYX", "patient": SECRET}}, "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX", "Name": SECRET, "Description": TEXT}},
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_pages_of_tiff_stay(name):
    content = tiff_with(STACK, **{"photometric": "minisblack", **STACKS[name]})
    new = cleaned(content).content
    with tifffile.TiffFile(io.BytesIO(new)) as file:
        assert np.array_equal(file.asarray(), STACK)
        assert len(file.pages) == 3
        assert file.series[0].axes[-2:] == "YX"
    assert left(new) == []


@pytest.mark.parametrize("name", ["strips", "tiles", "deflate"])
def test_strips_and_tiles_stay_byte_for_byte(name):
    content = tiff_with(STACK, photometric="minisblack", **STACKS[name])
    parts = []
    for raw in (content, cleaned(content).content):
        with tifffile.TiffFile(io.BytesIO(raw)) as file:
            page = file.pages[1]
            parts.append(
                [raw[at : at + size] for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
            )
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("mode", "compression"),
    [("1", "group4"), ("1", None), ("L", "tiff_lzw"), ("P", None), ("RGB", "packbits"), ("RGB", "jpeg"), ("RGBA", None),
     ("CMYK", None), ("LAB", None), ("F", None), ("RGB", "tiff_adobe_deflate")],
)  # fmt: skip
def test_tiff_of_every_mode_stays(mode, compression):
    content = tiff_by_pillow("L" if mode == "F" else mode, compression=compression, dpi=(300, 150))
    if mode == "F":
        content = saved(Image.fromarray(samples(21, 34, dtype=np.float32)), "TIFF")
    new = cleaned(content).content
    assert same_picture(content, new)
    assert opened(new).info.get("dpi") == opened(content).info.get("dpi")


def test_tiff_keeps_only_the_tags_of_the_picture():
    with tifffile.TiffFile(io.BytesIO(cleaned(tiff()).content)) as file:
        tags = {tag.code for page in file.pages for tag in page.tags}
    assert tags == {256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 283, 296, 34675}


def test_axes_and_spacing_stay_and_texts_beside_them_go():
    how = {
        "imagej": True,
        "metadata": {"axes": "ZYX", "spacing": 2.5, "unit": "um", "Info": TEXT, "Labels": [TEXT] * 3},
    }
    new = cleaned(tiff_with(STACK, **how)).content
    with tifffile.TiffFile(io.BytesIO(new)) as file:
        assert file.imagej_metadata["spacing"] == 2.5 and file.imagej_metadata["slices"] == 3
        assert file.imagej_metadata.keys() <= {
            "ImageJ",
            "images",
            "slices",
            "hyperstack",
            "mode",
            "spacing",
            "unit",
            "loop",
        }
    ome = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "Name": TEXT,
        "AcquisitionDate": TEXT,
    }
    text = _description(cleaned(tiff_with(STACK, ome=True, metadata=ome)).content)
    assert 'PhysicalSizeX="0.25"' in text and 'SizeZ="3"' in text
    assert (
        left(text.encode(), "a.json") == []
        if text.startswith("{")
        else TEXT not in text and SECRET not in text
    )


def _description(content: bytes) -> str:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages[0].description


def test_pages_that_only_the_description_names_are_named_by_directories():
    for how in ({"imagej": True}, {"metadata": {"axes": "ZYX"}}):
        out = io.BytesIO()
        with tifffile.TiffWriter(out, imagej=how.get("imagej", False)) as writer:
            writer.write(
                STACK, photometric="minisblack", contiguous=True, truncate=True, metadata=how.get("metadata")
            )
        with tifffile.TiffFile(io.BytesIO(out.getvalue())) as file:
            assert len(file.pages) == 1
        with tifffile.TiffFile(io.BytesIO(cleaned(out.getvalue()).content)) as file:
            assert len(file.pages) == 3 and np.array_equal(file.asarray(), STACK)


def test_smaller_copies_in_sub_directories_go():
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(STACK[0], subifds=1, metadata=None)
        writer.write(STACK[0][::2, ::2].copy(), subfiletype=1, metadata=None)
    result = cleaned(out.getvalue())
    assert result.notes == ["smaller copies in sub-directories were removed"]
    with tifffile.TiffFile(io.BytesIO(result.content)) as file:
        assert len(file.pages) == 1 and not file.pages[0].subifds
        assert np.array_equal(file.asarray(), STACK[0])


def test_the_label_and_the_overview_of_a_slide_go():
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for text, kind in (
            ("Aperio Image Library\n|AppMag = 20|User = x|MPP = 0.5", 0),
            ("label 34x21", 1),
            ("macro 3x2", 9),
        ):
            writer.write(
                samples(21, 34, 3), photometric="rgb", description=text, subfiletype=kind, metadata=None
            )
    result = cleaned(out.getvalue())
    assert result.actions["pages with the label or overview of a slide"] == "removed"
    with tifffile.TiffFile(io.BytesIO(result.content)) as file:
        assert len(file.pages) == 1
        assert file.pages[0].description == "Aperio Image Library|AppMag = 20|MPP = 0.5"


def test_a_map_of_labels_is_no_label_of_a_slide():
    content = tiff_with(samples(9, 8), description="label image", metadata=None)
    with tifffile.TiffFile(io.BytesIO(cleaned(content).content)) as file:
        assert np.array_equal(file.asarray(), samples(9, 8))


def test_texts_inside_of_jpeg_tiles_go():
    picture = Image.fromarray(samples(16, 16))
    stream = saved(picture, "JPEG", comment=TEXT.encode())
    content = bytearray(tiff_with(samples(16, 16), metadata=None) + stream)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages[0].tags
        for code, value in ((259, 7), (273, len(content) - len(stream)), (279, len(stream))):
            kind = {3: "<H", 4: "<I"}[int(tags[code].dtype)]
            struct.pack_into(kind, content, tags[code].offset + 8, value)
    result = cleaned(bytes(content))
    assert left(result.content) == []
    assert np.array_equal(np.asarray(opened(result.content)), np.asarray(opened(stream)))


def test_directories_in_a_circle_are_refused():
    content = bytearray(tiff_with(samples(9, 8), metadata=None))
    (first,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * count, first)
    with pytest.raises(FormatError, match="circle"):
        cleaned(bytes(content))


def test_raw_files_of_cameras_are_refused():
    content = tiff_with(samples(9, 8), metadata=None, extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    with pytest.raises(FormatError, match="camera"):
        cleaned(content)


# --- burned-in text -----------------------------------------------------------------------------------------------

BOX = (3, 4, 9, 8)


@pytest.fixture
def finder(monkeypatch):
    """Stands for the search for text: finds the box where it is all at the maximum, and records what it was shown."""
    shown = []

    def find_text(picture):
        shown.append(picture)
        left_, top, right, bottom = BOX
        return [BOX] if (picture[top:bottom, left_:right] == picture.max()).all() and np.ptp(picture) else []

    def blank(picture, boxes, *, indices=False):
        new = picture.copy()
        for left_, top, right, bottom in boxes:
            new[top:bottom, left_:right] = 2 if indices else 0
        return new

    module = types.ModuleType("medcli.deidentify.pixels")
    module.find_text, module.blank = find_text, blank
    monkeypatch.setitem(sys.modules, "medcli.deidentify.pixels", module)
    monkeypatch.setattr("medcli.deidentify.pixels", module, raising=False)
    return shown


def marked(array: np.ndarray, value: int | None = None) -> np.ndarray:
    """The array with the box at its maximum."""
    array = array.copy()
    array[BOX[1] : BOX[3], BOX[0] : BOX[2]] = array.max() if value is None else value
    return array


def outside(array: np.ndarray) -> np.ndarray:
    mask = np.ones(array.shape[:2], bool)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = False
    return array[mask]


def inside(array: np.ndarray) -> np.ndarray:
    return array[BOX[1] : BOX[3], BOX[0] : BOX[2]]


@pytest.mark.parametrize(
    "content", [png(), jpeg(), tiff(), tiff(bigtiff=True)], ids=["png", "jpeg", "tiff", "big"]
)
def test_pictures_without_text_come_out_as_without_the_search(finder, content):
    assert cleaned(content, pixels=True) == cleaned(content)
    assert finder


def test_without_the_option_pixels_are_not_searched(finder):
    for content in (png(), jpeg(), tiff()):
        cleaned(content)
    assert not finder


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_text_in_png_is_blanked_and_all_else_stays(finder, mode):
    picture = of_mode(mode)
    if mode == "P":
        array = marked(np.asarray(picture), 4)
        picture = Image.fromarray(array, "P")
        picture.putpalette([200, 10, 10, 90, 90, 90, 5, 5, 5, 60, 60, 60, 255, 255, 255] + [100, 50, 50] * 11)
    elif mode == "1":
        picture = Image.fromarray(marked(np.asarray(picture.convert("L"))) > 128)
    else:
        picture = Image.fromarray(marked(np.asarray(picture)), None if mode == "I;16" else mode)
    result = cleaned(saved(picture, "PNG"), pixels=True)
    old, new = np.asarray(picture), np.asarray(opened(result.content))
    assert result.actions["pixels"] == "text blanked" and result.suffix is None
    assert opened(result.content).mode == picture.mode
    assert np.array_equal(outside(new), outside(old))
    assert set(
        np.unique(
            inside(new)[..., :3] if mode == "RGBA" else inside(new)[..., 0] if mode == "LA" else inside(new)
        )
    ) == {2 if mode == "P" else 0}
    assert not {"tEXt", "iTXt"} & set(names(result.content))


@pytest.mark.parametrize(("colour", "depth"), [(0, 2), (0, 4), (2, 16), (6, 16), (3, 4)])
def test_text_in_deep_shallow_and_interlaced_png_is_blanked_exactly(finder, colour, depth):
    channels = {0: (), 2: (3,), 3: (), 6: (4,)}[colour]
    array = (samples(23, 31, *channels, dtype=np.uint16) >> (16 - depth)).astype(
        np.uint16 if depth == 16 else np.uint8
    )
    array = marked(array, 2**depth - 1)
    palette = bytes(range(0, 225, 5)) + b"\xff\xff\xff" if colour == 3 else b""
    new = cleaned(interlaced(array, depth, colour, palette), pixels=True).content
    picture = scanlines.Picture.read(read_png(new)[0][0].data, palette)
    decoded = scanlines.decode(zlib.decompress(data_of(new, b"IDAT")), picture)
    assert (picture.depth, picture.colour, picture.interlaced) == (depth, colour, False)
    assert np.array_equal(outside(decoded), outside(array))
    assert (inside(decoded)[..., : 3 if channels else None] == (2 if colour == 3 else 0)).all()
    opened(new).load()


def test_text_in_jpeg_makes_it_a_png_of_the_same_pixels(finder):
    array = np.zeros((40, 56, 3), np.uint8) + 40
    array[0:16, 0:16] = 255
    content = saved(Image.fromarray(array), "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + exif(6))
    result = cleaned(content, pixels=True)
    old, new = np.asarray(opened(content)), np.asarray(opened(result.content))
    assert (result.suffix, result.actions["file"]) == (".png", "rewritten as PNG")
    assert opened(result.content).format == "PNG" and opened(result.content).getexif() == {0x0112: 6}
    assert np.array_equal(outside(new), outside(old)) and not inside(new).any()
    assert left(result.content) == []


def test_text_in_a_cmyk_jpeg_is_refused(finder):
    array = np.zeros((40, 56, 4), np.uint8) + 90
    array[0:16, 0:16] = 0
    with pytest.raises(FormatError, match="CMYK"):
        cleaned(saved(Image.fromarray(array, "CMYK"), "JPEG", quality=100), pixels=True)


@pytest.mark.parametrize("name", ["strips", "tiles", "big", "other order", "deflate"])
def test_text_on_one_page_of_a_tiff_is_blanked_and_other_pages_stay(finder, name):
    stack = STACK.copy()
    stack[1] = marked(stack[1], 65535)
    content = tiff_with(stack, photometric="minisblack", **STACKS[name])
    result = cleaned(content, pixels=True)
    with tifffile.TiffFile(io.BytesIO(result.content)) as file:
        pages = [page.asarray() for page in file.pages]
        assert [page.compression.name == "ADOBE_DEFLATE" for page in file.pages] == [
            name == "deflate",
            True,
            name == "deflate",
        ]
    assert np.array_equal(pages[0], stack[0]) and np.array_equal(pages[2], stack[2])
    assert np.array_equal(outside(pages[1]), outside(stack[1])) and not inside(pages[1]).any()


@pytest.mark.parametrize(
    ("mode", "compression"), [("L", "tiff_lzw"), ("RGB", None), ("1", None), ("RGB", "tiff_lzw"), ("P", None)]
)
def test_text_in_tiff_of_other_modes_is_blanked(finder, mode, compression):
    if mode == "1":
        picture = Image.fromarray(marked(samples(23, 31), 255) > 128)
    elif mode == "P":
        picture = Image.fromarray(marked(samples(23, 31) % 5, 4), "P")
        picture.putpalette(
            [200, 10, 10, 90, 90, 90, 5, 5, 5, 60, 60, 60, 255, 255, 255] + [100, 50, 50] * 251
        )
    else:
        picture = Image.fromarray(marked(samples(23, 31, *((3,) if mode == "RGB" else ())), 255))
    content = saved(picture, "TIFF", compression=compression)
    new = np.asarray(opened(cleaned(content, pixels=True).content))
    assert np.array_equal(outside(new), outside(np.asarray(picture)))
    assert set(np.unique(inside(new))) == {2 if mode == "P" else 0}


def test_text_in_any_channel_of_a_tiff_is_blanked_in_all(finder):
    array = samples(23, 31, 6)
    array[..., 4] = marked(array[..., 4], 255)
    content = tiff_with(array, photometric="minisblack", planarconfig="contig", metadata=None)
    with tifffile.TiffFile(io.BytesIO(cleaned(content, pixels=True).content)) as file:
        new = file.asarray()
    assert np.array_equal(outside(new), outside(array)) and not inside(new).any()


def test_a_tiff_that_cannot_be_decoded_is_refused_only_when_its_pixels_are_to_be_searched(finder):
    content = bytearray(tiff_with(samples(9, 8), metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        struct.pack_into("<H", content, file.pages[0].tags[259].offset + 8, 34887)  # LERC
    cleaned(bytes(content))
    with pytest.raises(FormatError, match="cannot be decoded"):
        cleaned(bytes(content), pixels=True)
