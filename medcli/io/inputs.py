"""What a person names on the command line, as cases: files, folders, globs, tables, DICOM series, `.npz`."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medcli.case import Case, Source
from medcli.errors import DataError
from medcli.files import read_csv
from medcli.io.found import known_split
from medcli.io.patterns import Pattern
from medcli.io.readers import CIFAR, DICOM, SUFFIXES, format_by_content, stem_of

_IMAGE_COLUMNS = ("image", "file", "path", "filename", "image_path", "image_id")
_CASE_COLUMNS = ("case", "name")
_TABLES = (".csv", ".tsv", ".tab")


def find_inputs(
    inputs: Sequence[str | Path],
    pattern: str | Mapping[str, str] | None = None,
    groups: Sequence[str] = (),
    clinical: Sequence[str] = (),
) -> list[Case]:
    """Cases without labels, in natural order within a folder or glob and in the order of the rows of a table.

    Args:
        inputs: Files, folders (searched to the bottom), globs, CSV or TSV files (a column image, file, path,
            ...; optionally case), folders that hold DICOM series, `.npz` files.
        pattern: How the training data named its images, such as `nifti/{case}/PET_image.nii.gz`, or a mapping
            from channel to pattern. In a folder where it fits the ends of paths, only these are taken.
        groups: Columns of a table that tell which group a case belongs to; those that it lacks are left out.
        clinical: Columns that a table must have, since the network sees them.

    Raises:
        DataError: When an input does not exist, or nothing readable is found.
    """
    patterns = _patterns(pattern)
    cases: list[Case] = []
    loose: list[Path] = []
    for item in inputs:
        for path in _expand(item):
            if path.is_dir():
                cases += _flush(loose, patterns) + _in_folder(path, patterns)
            elif path.suffix.lower() in _TABLES:
                cases += _flush(loose, patterns) + _in_table(path, list(patterns), groups, clinical)
            elif path.suffix.lower() == ".npz":
                cases += _flush(loose, patterns) + _in_npz(path)
            elif _is_batch(path):
                cases += _flush(loose, patterns) + _in_batch(path)
            else:
                loose.append(path)
    cases += _flush(loose, patterns)
    if not cases:
        raise DataError(
            f"No images were found in {', '.join(map(str, inputs)) or 'an empty list of inputs'}."
        )
    return unique_names(cases)


def natural(text: object) -> list[tuple[int, int, str]]:
    """Sort key under which case 2 comes before case 10."""
    pieces = re.split(r"(\d+)", str(text))
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece.lower()) for piece in pieces if piece]


def safe_name(text: str) -> str:
    """The text with everything that a file name should not hold turned to `_`."""
    return re.sub(r"[^\w.\-+=]+", "_", text).strip("._") or "case"


def unique_names(cases: Iterable[Case]) -> list[Case]:
    """Rename cases that share a name: by their parent folders where these differ, else by counting."""
    cases = list(cases)
    for depth in range(1, 6):
        taken = Counter(case.name for case in cases)
        if max(taken.values(), default=0) < 2:
            return cases
        cases = [
            replace(case, name=_with_parent(case, depth)) if taken[case.name] > 1 else case for case in cases
        ]
    seen: set[str] = set()
    result = []
    for case in cases:
        name, count = case.name, 1
        while name in seen:
            count += 1
            name = f"{case.name}_{count}"
        seen.add(name)
        result.append(replace(case, name=name))
    return result


def _with_parent(case: Case, depth: int) -> str:
    parents = case.images[0].path.resolve().parents
    return f"{safe_name(parents[depth - 1].name)}_{case.name}" if depth <= len(parents) - 1 else case.name


def _patterns(pattern: str | Mapping[str, str] | None) -> dict[str, Pattern]:
    named = {"image": pattern} if isinstance(pattern, str) else dict(pattern or {})
    return {channel: Pattern(text) for channel, text in named.items() if "{case}" in text}


def _expand(item: str | Path) -> list[Path]:
    path = Path(item)
    if path.exists():
        return [path]
    if any(mark in str(item) for mark in "*?["):
        found = sorted((Path(name) for name in glob.glob(str(item), recursive=True)), key=natural)
        if found:
            return found
        raise DataError(f"{item}: no file matches.")
    raise DataError(f"{item}: there is no such file or folder.")


def _flush(loose: list[Path], patterns: Mapping[str, Pattern]) -> list[Case]:
    """Cases of the files named one by one; files of several channels are joined by the patterns."""
    paths, loose[:] = list(loose), []
    if len(patterns) > 1 and paths:
        cases = _matching(paths, patterns)
        if not cases:
            raise DataError(
                f"{paths[0]}: the model needs the channels {', '.join(patterns)} of every case; name the "
                "folder, or files whose paths end as the patterns in data.images do."
            )
        return cases
    only = next(iter(patterns.values()), None)
    return [
        Case(name=safe_name((only and only.case_of(path)) or stem_of(path)), images=(Source(path),))
        for path in paths
    ]


def _in_folder(folder: Path, patterns: Mapping[str, Pattern]) -> list[Case]:
    paths = [path for path in folder.rglob("*") if not _hidden(path, folder)]
    paths.sort(key=natural)
    if patterns:
        matching = _matching([folder, *paths], patterns)
        if matching:
            return matching
    files = [path for path in paths if path.is_file()]
    by_folder: dict[Path, list[Path]] = {}
    for path in files:
        by_folder.setdefault(path.parent, []).append(path)
    cases: list[Case] = []
    for parent in sorted(by_folder, key=natural):
        dicom = [path for path in by_folder[parent] if _may_be_dicom(path)]
        known = set(dicom)
        for path in (path for path in by_folder[parent] if path not in known):
            if path.suffix.lower() == ".npz":
                cases += _in_npz(path)
            elif _is_batch(path):
                cases += _in_batch(path)
            elif path.name.lower().endswith(SUFFIXES):
                cases.append(Case(name=safe_name(stem_of(path)), images=(Source(path),)))
        if dicom:
            cases += _in_dicom_folder(parent, dicom)
    return cases


def images_in(folder: Path) -> list[Path]:
    """Files in a folder, to the bottom, that by their suffixes are images."""
    return [
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(SUFFIXES) and path.is_file() and not _hidden(path, folder)
    ]


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _may_be_dicom(path: Path) -> bool:
    """By its suffix, or by its content when the name does not tell ("IM0001", "1.2.840.113", "scan.gz")."""
    name = path.name.lower()
    if name.endswith(DICOM.suffixes):
        return True
    if name.endswith(SUFFIXES) or name == "dicomdir":
        return False
    if path.suffix.lower() in (
        ".txt",
        ".json",
        ".csv",
        ".tsv",
        ".xml",
        ".yaml",
        ".yml",
        ".md",
        ".pdf",
        ".html",
    ):
        return False
    return format_by_content(path) is DICOM


def _in_dicom_folder(folder: Path, files: Sequence[Path]) -> list[Case]:
    """One case per series; a file that stands alone is named by itself, a series by its folder."""
    from medcli.io.dicom.series import list_series

    series = list_series(files)
    if any(found.is_stack for found in series):
        # A file that cannot be read may belong to a stack: reading the folder says so.
        series = [found for found in series if found.readable]
    cases = []
    for number, found in enumerate(series, start=1):
        if not found.is_stack:
            cases += [Case(name=safe_name(stem_of(path)), images=(Source(path),)) for path in found.files]
        elif len(series) == 1:
            cases.append(Case(name=safe_name(folder.resolve().name), images=(Source(folder),)))
        else:
            name = f"{safe_name(folder.resolve().name)}_series{number}"
            cases.append(Case(name=name, images=(Source(folder, found.uid),)))
    return cases


def _matching(paths: Sequence[Path], patterns: Mapping[str, Pattern]) -> list[Case]:
    """Cases that the patterns find; a channel that is missing is kept as the path where it should be."""
    found = {channel: pattern.find(paths) for channel, pattern in patterns.items()}
    names = sorted({key for channel in found.values() for key in channel}, key=natural)
    cases = []
    for key in names:
        present = next((channel, found[channel][key]) for channel in patterns if key in found[channel])
        sources = tuple(
            Source(found[channel].get(key) or pattern.expected(patterns[present[0]], present[1]))
            for channel, pattern in patterns.items()
        )
        cases.append(Case(name=safe_name(key[-1]), images=sources))
    return cases


def _in_table(
    path: Path, channels: Sequence[str], groups: Sequence[str], clinical: Sequence[str]
) -> list[Case]:
    rows = read_csv(path)
    if not rows:
        raise DataError(f"{path}: a header line and one line per image were expected, no line was found.")
    columns = {str(column).strip().lower(): column for column in rows[0] if column is not None}
    wanted = [channel.lower() for channel in channels] if len(channels) > 1 else []
    if not wanted or not set(wanted) <= set(columns):
        wanted = [name for name in _IMAGE_COLUMNS if name in columns][:1]
    if not wanted:
        raise DataError(
            f"{path}: a column {', '.join(_IMAGE_COLUMNS)} was expected, {', '.join(columns)} were found."
        )
    absent = [name for name in clinical if name.lower() not in columns]
    if absent:
        raise DataError(
            f"{path}: the model sees the columns {', '.join(clinical)} beside the image, {', '.join(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} not there (found: {', '.join(columns)}). Add what is absent; cells "
            "may be empty where a value is unknown."
        )
    case_column = next((columns[name] for name in _CASE_COLUMNS if name in columns), None)
    cases = []
    for row in rows:
        texts = [(row[columns[name]] or "").strip() for name in wanted]
        if not all(texts):
            continue
        images = tuple(Source(_resolve(text, path.parent)) for text in texts)
        name = (row[case_column] or "").strip() if case_column else ""
        values = {
            group: (row[columns[group.lower()]] or "").strip() for group in groups if group.lower() in columns
        }
        seen = {column: (row[columns[column.lower()]] or "").strip() for column in clinical}
        named = safe_name(name or stem_of(images[0].path))
        cases.append(Case(name=named, images=images, groups=values, clinical=seen))
    return cases


def _resolve(text: str, folder: Path) -> Path:
    """A path in a table: from the table's folder, else the working directory; a suffix may be missing."""
    for base in (folder / text, Path(text)):
        if base.exists():
            return base
    for suffix in SUFFIXES:
        if (folder / f"{text}{suffix}").exists():
            return folder / f"{text}{suffix}"
    return folder / text


def _in_npz(path: Path) -> list[Case]:
    """One case per image of the arrays that hold images (see `holds_images`); else the file is one image."""
    from medcli.io.numpy_file import array_shapes

    shapes = array_shapes(path)
    stacked = {name: shape[0] for name, shape in shapes.items() if holds_images(name) and shape}
    if not stacked:
        return [Case(name=safe_name(stem_of(path)), images=(Source(path),))]
    return [npz_case(path, name, index) for name, count in stacked.items() for index in range(count)]


def _is_batch(path: Path) -> bool:
    return not path.suffix and path.is_file() and format_by_content(path) is CIFAR


def _in_batch(path: Path) -> list[Case]:
    from medcli.io.cifar import load_batch

    return [batch_case(path, index) for index in range(len(load_batch(path)[1]))]


def batch_case(path: Path, index: int) -> Case:
    """The case of one image in a CIFAR batch: `test_batch_00012`."""
    return Case(name=f"{safe_name(path.name)}_{index:05d}", images=(Source(path, f"[{index}]"),))


def holds_images(array: str) -> bool:
    """Whether an array of an `.npz` holds images, by its name as MedMNIST (train_images) or Keras (x_train) has it."""
    return array == "images" or array.endswith("_images") or called_by_keras(array)


def called_by_keras(array: str) -> bool:
    """`x_train` and `x_test`, whose labels are `y_train` and `y_test`."""
    return array.startswith("x_") and known_split(array[2:]) is not None


def part_of(array: str) -> str:
    """`train` for `train_images` and `x_train`; "" for `images` and `x`."""
    return (array[1:] if called_by_keras(array) else array.removesuffix("images")).strip("_")


def npz_case(path: Path, array: str, index: int) -> Case:
    """The case of one image in an `.npz`: `test_00012` for `test_images[12]`, `00012` for `images[12]`."""
    prefix = part_of(array)
    name = f"{prefix}_{index:05d}" if prefix else f"{index:05d}"
    return Case(name=name, images=(Source(path, f"{array}[{index}]"),))
