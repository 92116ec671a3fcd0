"""What to de-identify: the files behind folders, DICOMDIRs and zip archives, with their places in the output."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medcli.deidentify import wire
from medcli.deidentify.charsets import Charsets
from medcli.deidentify.dicom import DIRECTORY_RECORDS, text_of
from medcli.errors import FormatError, UsageError

MOST_BYTES = 4 << 30
_MOST_RATIO, _ALWAYS = 200, 256 << 20
"""What is packed may unpack to so many times its size, and to so many bytes in any case."""
_JUNK = {".ds_store", "thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Item:
    """One file: on disk, or a member of a zip archive.

    Attributes:
        path: The file or the archive.
        place: Where it stood, relative to what was named on the command line.
        member: Its name in the archive.
    """

    path: Path
    place: PurePosixPath
    member: str | None = None

    def read(self) -> bytes:
        """Raises FormatError when an archive is damaged or too large, OSError when a file cannot be read."""
        if self.member is None:
            if self.path.stat().st_size > MOST_BYTES:
                raise FormatError(f"The file is larger than {MOST_BYTES >> 30} GiB.")
            return _unpacked(self.path.read_bytes())
        try:
            with zipfile.ZipFile(self.path) as archive:
                info = archive.getinfo(self.member)
                if info.file_size > MOST_BYTES or info.file_size > _MOST_RATIO * max(
                    info.compress_size, 10_000
                ):
                    raise FormatError("The archive's member unpacks to more than is plausible.")
                return _unpacked(archive.read(info))
        except (
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            EOFError,
            KeyError,
            ValueError,
        ) as error:
            raise FormatError(f"The archive's member cannot be unpacked ({type(error).__name__}).") from None

    def stamp(self) -> str:
        """Changes when the file does."""
        state = self.path.stat()
        return f"{state.st_size}:{state.st_mtime_ns}"


def _unpacked(content: bytes) -> bytes:
    """A gzipped DICOM file unpacked; all else as it is. Raises FormatError when it unpacks to too much."""
    if content[:2] != b"\x1f\x8b":
        return content
    unpacker = zlib.decompressobj(wbits=31)
    try:
        if not wire.looks_like_dicom(unpacker.decompress(content[:4096], 512)):
            return content
        unpacker = zlib.decompressobj(wbits=31)
        result = unpacker.decompress(content, min(MOST_BYTES, max(_ALWAYS, _MOST_RATIO * len(content))))
    except zlib.error:
        return content
    if not unpacker.eof:
        raise FormatError("It is compressed, and cut short or larger than is plausible.")
    return result


def find_items(inputs: Sequence[Path]) -> list[Item]:
    """All files, in the order of their places. Raises UsageError for a missing input."""
    items: dict[tuple[Path, str | None], Item] = {}
    several = len(inputs) > 1
    for given in inputs:
        path = given.expanduser()
        if not path.exists():
            raise UsageError(f"{given}: expected a file or folder; there is none.")
        for item in _expand(path, several=several):
            items.setdefault((item.path.absolute(), item.member), item)
    return sorted(items.values(), key=lambda item: (item.place.parts, item.member or ""))


def _expand(path: Path, *, several: bool) -> Iterator[Item]:
    if path.is_dir():
        start = PurePosixPath(path.resolve().name) if several else PurePosixPath()
        for folder, folders, names in os.walk(path):
            folders.sort()
            place = start / PurePosixPath(Path(folder).relative_to(path).as_posix())
            for name in sorted(names):
                yield from _one(Path(folder) / name, place)
    elif path.name.upper() == "DICOMDIR":
        yield from _listed(path)
    else:
        yield from _one(path, PurePosixPath())


def _one(path: Path, place: PurePosixPath) -> Iterator[Item]:
    if path.name.lower() in _JUNK or not path.is_file():
        return
    if _is_zip(path):
        try:
            with zipfile.ZipFile(path) as archive:
                members = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, ValueError, OSError):
            members = []
        for member in members:
            parts = [
                part
                for part in PurePosixPath(member.replace("\\", "/")).parts
                if part not in ("/", "..", ".")
            ]
            if parts and parts[-1].lower() not in _JUNK and parts[0] != "__MACOSX":
                yield Item(path, place / path.stem / PurePosixPath(*parts), member)
        if members:
            return
    yield Item(path, place / path.name)


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(4) in (b"PK\3\4", b"PK\5\6")


def _listed(directory: Path) -> Iterator[Item]:
    """A DICOMDIR and the files that it lists."""
    yield Item(directory, PurePosixPath(directory.name))
    for parts in referenced_files(directory.read_bytes()):
        path = _without_case(directory.parent, parts)
        if path is not None:
            yield from _one(path, PurePosixPath(*parts[:-1]))


def referenced_files(content: bytes) -> list[tuple[str, ...]]:
    """The paths that a DICOMDIR names (Referenced File ID), as parts."""
    records = wire.read(content).dataset.get(DIRECTORY_RECORDS)
    items = records.value if records is not None and isinstance(records.value, list) else []
    texts = [text_of(item, 0x00041500, Charsets()) for item in items]
    paths = [tuple(part.strip() for part in text.split("\\")) for text in texts if text]
    return [parts for parts in paths if not any(part in ("", ".", "..") or "/" in part for part in parts)]


def _without_case(folder: Path, parts: Sequence[str]) -> Path | None:
    """The file at these parts; discs are copied with names in either case."""
    for part in parts:
        exact = folder / part
        if not exact.exists():
            found = (
                [entry for entry in folder.iterdir() if entry.name.lower() == part.lower()]
                if folder.is_dir()
                else []
            )
            if not found:
                return None
            exact = found[0]
        folder = exact
    return folder if folder.is_file() else None
