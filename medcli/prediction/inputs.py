"""Which cases to predict: what a person named, told by how the training data named its files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medcli.case import Case, Source
from medcli.errors import DataError
from medcli.io.inputs import find_inputs, images_in, unique_names
from medcli.io.planes import by_plane
from medcli.io.readers import SUFFIXES, stem_of
from medcli.run import Run


def cases_for(run: Run, inputs: Sequence[str | Path], out: Path | None = None) -> list[Case]:
    """Cases in the order of the inputs; an input that is missing beside others becomes a case that fails.

    Args:
        inputs: Files, folders, globs, tables, DICOM series, `.npz`; see `medcli.io.inputs.find_inputs`.
        out: What lies in this folder is a result, not an input.

    Raises:
        DataError: Nothing was found.
    """
    missing = [Path(item) for item in inputs if not Path(item).exists() and not _is_glob(item)]
    if len(missing) == len(inputs):
        missing = []
    present = [item for item in inputs if Path(item) not in missing]
    clinical = [column.name for column in run.plan.clinical]
    cases = find_inputs(present, image_pattern(run), run.config.data.columns.groups, clinical)
    if clinical and not all(case.clinical for case in cases):
        raise DataError(
            f"The model sees the columns {', '.join(clinical)} beside the image; give a CSV or TSV with the columns "
            f"image, {', '.join(clinical)} and one line per image (cells may be empty where a value is unknown)."
        )
    if out is not None and out.is_dir():
        cases = [case for case in cases if not _within(case, out.resolve())]
        if not cases:
            raise DataError(f"{out}: every input lies in the output folder; choose another with --out.")
    cases = unique_names([*cases, *(Case(name=stem_of(path), images=(Source(path),)) for path in missing)])
    planes = run.config.data.planes
    return by_plane(cases, planes) if planes else cases


def passed_over(run: Run, inputs: Sequence[str | Path], cases: Sequence[Case], out: Path) -> list[str]:
    """Of every input folder in words: how many images in it are none of the cases, as their names are not those that
    the training images have."""
    pattern = image_pattern(run)
    if pattern is None:
        return []
    taken = {source.path.resolve() for case in cases for source in case.images}
    left_alone = {path for path in taken if path.is_dir()} | {out.resolve()}  # DICOM series, results
    told = []
    for folder in (Path(item) for item in inputs if Path(item).is_dir()):
        images = [
            path
            for path in map(Path.resolve, images_in(folder))
            if path not in taken and left_alone.isdisjoint(path.parents)
        ]
        if images:
            kinds = {next(end for end in SUFFIXES if path.name.lower().endswith(end)) for path in images}
            told.append(
                f"{folder}: left out {len(images)} more ({', '.join(sorted(kinds))}), not named like the training "
                f"images ({_shown(pattern)}); to predict them too, name them or a glob of them."
            )
    return told


def _shown(pattern: str | Mapping[str, str]) -> str:
    return pattern if isinstance(pattern, str) else ", ".join(pattern.values())


def image_pattern(run: Run) -> str | Mapping[str, str] | None:
    """How the training data named its images: as the config says, else as the file names show.

    For example, case "la_003" in "imagesTr/la_003_0000.nii.gz" gives "imagesTr/{case}_0000.nii.gz". None when
    the names have nothing in common but their suffix.
    """
    images = run.config.data.images
    if isinstance(images, Mapping) or (isinstance(images, str) and "{case}" in images):
        return images
    patterns = {
        tuple(source.replace(record.case, "{case}") for source in record.sources) for record in run.records
    }
    if len(patterns) != 1:
        return None
    (channels,) = patterns
    if not all("{case}" in channel and "::" not in channel for channel in channels):
        return None
    if len(channels) > 1:
        return {f"channel_{number}": channel for number, channel in enumerate(channels)}
    return channels[0] if stem_of(Path(channels[0])) != "{case}" else None


def _is_glob(item: str | Path) -> bool:
    return any(mark in str(item) for mark in "*?[")


def _within(case: Case, folder: Path) -> bool:
    return any(source.path.resolve().is_relative_to(folder) for source in case.images)
