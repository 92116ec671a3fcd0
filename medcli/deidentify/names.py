"""Names of files and folders without what identifies."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from medcli.deidentify.identifiers import Finder
from medcli.deidentify.patterns import DATE, dates
from medcli.deidentify.pseudonyms import Pseudonyms

_SUFFIXES = (
    ".nii.gz",
    ".dcm.gz",
    ".dcm",
    ".dicom",
    ".ima",
    ".nii",
    ".json",
    ".tsv",
    ".csv",
    ".svs",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".hdr",
    ".img",
    ".bval",
    ".bvec",
)


def clean_place(
    place: PurePosixPath, finders: Sequence[Finder | None], pseudonyms: Pseudonyms, *, new_uids: bool
) -> PurePosixPath:
    """The place with every part that holds an identifier replaced; equal parts stay equal.

    Args:
        finders: For each part of the place, what may stand in it; None where nobody knows, so
            that the name cannot be trusted. As many as the place has parts.
        new_uids: Whether UIDs in names become their pseudonyms.
    """
    parts = [
        clean_part(part, finder, pseudonyms, new_uids=new_uids)
        for part, finder in zip(place.parts, finders, strict=True)
    ]
    return PurePosixPath(*parts)


def clean_part(part: str, finder: Finder | None, pseudonyms: Pseudonyms, *, new_uids: bool) -> str:
    """One file or folder name: a UID gives its pseudonym, any other identifier or date a token for the whole."""
    suffix = next((ending for ending in _SUFFIXES if part.lower().endswith(ending)), "")
    stem = part[: len(part) - len(suffix)]
    part = part.removesuffix(".gz") if suffix == ".dcm.gz" else part
    if finder is None:
        return pseudonyms.token("name", stem) + part[len(stem) :]
    shown = finder.mask(stem) if new_uids else finder.mask_but_uids(stem)
    if finder.hits(stem) or any(any(True for _ in dates(found)) for found in DATE.finditer(shown)):
        return pseudonyms.token("name", stem) + part[len(stem) :]
    return shown + part[len(stem) :]
