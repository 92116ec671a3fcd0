"""`medcli features`: from cases to a table of features.

OUT.csv     a line per case, region and channel: case, patient, region, channel, status, then a column per feature;
            empty where a feature is not defined, and in the lines of cases that failed
OUT.json    the settings, and for every column its family, unit, definition, IBSI code and source
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from medcli import __version__
from medcli.case import Case, Source
from medcli.config.schema import Config, Features
from medcli.errors import ConfigError, DataError, MedcliError, UsageError
from medcli.features.aggregation import resolve
from medcli.features.extract import extract, regions_of_channels
from medcli.features.table import describe
from medcli.files import write_csv, write_json
from medcli.image import Image
from medcli.io.cases import discover
from medcli.io.inputs import find_inputs
from medcli.parallel import WorkerDied
from medcli.preprocessing.geometry import orientation
from medcli.preprocessing.scan import Signatures, labelled
from medcli.preprocessing.workers import bytes_to_scan, over_cases
from medcli.progress import Progress, ignore

KEYS = ("case", "patient", "region", "channel", "status")
OK = "ok"
COPIES = 4.0
"""Times what reading takes: values, masks and filters' answers in double precision."""


@dataclass(frozen=True)
class Regions:
    """Which voxels of a label file make which region.

    Attributes:
        named: Region to the ids in the file; no ids: everything above zero. None: every id found is a region, named by
            the file where it names its parts (RTSTRUCT, SEG), else `label_1`, `label_2`, ...
        whole: Take the whole image and no label at all.
        ignore_label: Value of voxels that nobody labelled, which are no region; see `data.ignore_label`.
    """

    named: dict[str, list[int]] | None = None
    whole: bool = True
    ignore_label: int | None = None


@dataclass(frozen=True, eq=False)
class Job:
    cases: Sequence[Case]
    regions: Regions
    settings: Features


@dataclass(frozen=True, eq=False)
class Row:
    """One region in one channel; `status` says why it has no features, or "ok"."""

    region: str
    channel: str
    status: str
    values: dict[str, float]
    aggregation: str = ""


@dataclass(frozen=True, eq=False)
class Result:
    """Attributes:
    out: The table; its JSON lies beside it.
    cases, rows, features: Numbers.
    failed: Case and reason.
    seconds: Wall time.
    table: The rows as written.
    """

    out: Path
    cases: int
    rows: int
    features: int
    failed: dict[str, str]
    seconds: float
    table: list[dict[str, Any]]


def cases_of_config(config: Config) -> tuple[list[Case], Regions, dict[str, str]]:
    """The cases of a job, their regions, and why cases were left out (by name, or by file where none is known)."""
    found = discover(config, for_training=False, torn_patients=True)
    wanted = config.features.regions
    has_masks = any(case.masks for case in found.cases)
    if wanted == "labels" and not has_masks:
        raise ConfigError(
            "features.regions: labels need masks (task: segmentation with data.labels); none were found, use whole."
        )
    left_out = {
        problem.case or problem.file: problem.reason for problem in found.problems if problem.left_out
    }
    if wanted == "whole" or not has_masks:
        return found.cases, Regions(), left_out
    named = found.label_ids
    if named == {}:
        named = {(found.classes or ["foreground"])[0]: []}
    return found.cases, Regions(named, whole=False, ignore_label=found.ignore_label), left_out


def cases_of_inputs(inputs: Sequence[str | Path], mask: Path | None) -> tuple[list[Case], Regions]:
    """What is named on the command line; UsageError when a mask is given for more than one image."""
    cases = find_inputs(inputs)
    if mask is None:
        return cases, Regions()
    if len(cases) != 1:
        raise UsageError(f"--mask: expected one image with it, got {len(cases)}; use a config for several.")
    return [replace(cases[0], masks=(Source(Path(mask)),))], Regions(None, whole=False)


def measure(
    cases: Sequence[Case],
    regions: Regions,
    config: Config,
    out: Path,
    *,
    left_out: dict[str, str] | None = None,
    progress: Progress = ignore,
) -> Result:
    """Features of every case, written as a table; one bad case does not stop the others.

    Args:
        config: Its sections `features` and, for the workers, `preprocess`.
        out: The CSV.
        left_out: Cases that were found but cannot be used, and why: a line each.

    Raises:
        DataError: Every case failed.
    """
    start = perf_counter()
    results = _all_rows(cases, regions, config, progress)
    units = {name: row for name, row in ((row["name"], row) for row in describe())}
    present = {name for rows in results if isinstance(rows, list) for row in rows for name in row.values}
    columns = [name for name in units if name in present]
    table, failed, aggregations = [], dict(left_out or {}), set()
    for name, reason in failed.items():
        table.append(_line(name, "", Row("", "", reason, {})))
    for case, rows in zip(cases, results, strict=True):
        if isinstance(rows, str):
            failed[case.name] = rows
            rows = [Row("", "", rows, {})]
        table += [_line(case.name, case.patient, row) for row in rows]
        aggregations |= {row.aggregation for row in rows if row.aggregation}
    if not present:
        name, reason = next(iter(failed.items()), ("", "no region was found"))
        raise DataError(f"No case has features ({len(cases)} in all); the first, {name}: {reason}")
    write_csv(out, table, [*KEYS, *columns])
    write_json(
        out.with_suffix(".json"),
        {
            "medcli": __version__,
            "settings": config.features.model_dump(mode="json"),
            "aggregation": sorted(aggregations),
            "columns": {
                name: {key: units[name][key] for key in units[name] if key != "name"} for name in columns
            },
        },
    )
    total = len(cases) + len(left_out or {})
    return Result(out, total, len(table), len(columns), failed, perf_counter() - start, table)


def _line(case: str, patient: str, row: Row) -> dict[str, Any]:
    numbers = {name: "" if np.isnan(value) else f"{value:.9g}" for name, value in row.values.items()}
    keys = {"case": case, "patient": patient, "region": row.region, "channel": row.channel}
    return keys | {"status": " ".join(row.status.split())} | numbers


def _all_rows(
    cases: Sequence[Case], regions: Regions, config: Config, progress: Progress
) -> list[list[Row] | str]:
    """For every case its rows, or why it has none."""
    signatures = Signatures()
    done: dict[int, list[Row] | str] = {}
    progress("features", 0, len(cases))

    def receive(indices: list[int], results: list[Any]) -> None:
        for index, result in zip(indices, results, strict=True):
            died = isinstance(result, WorkerDied)
            done[index] = f"{cases[index].images[0].path}: {result.reason}." if died else result
        progress("features", len(done), len(cases))

    over_cases(
        rows_of_cases,
        lambda indices: Job([cases[index] for index in indices], regions, config.features),
        range(len(cases)),
        [COPIES * bytes_to_scan(case, signatures) for case in cases],
        config,
        receive,
    )
    return [done[index] for index in range(len(cases))]


# ---- in the workers


def rows_of_cases(job: Job) -> list[list[Row] | str]:
    """For every case its rows, or why it has none; a fault in one never stops the others."""
    return [_safely(case, job) for case in job.cases]


def _safely(case: Case, job: Job) -> list[Row] | str:
    try:
        return rows_of(case, job.regions, job.settings)
    except MedcliError as error:
        return str(error)
    except MemoryError:
        return f"{case.images[0].path}: does not fit into memory."
    except Exception as error:  # whatever a library makes of one odd file, the others go on
        return f"{case.images[0].path}: cannot be measured ({type(error).__name__})."


def rows_of(case: Case, regions: Regions, settings: Features) -> list[Row]:
    """Read one case and measure its regions in every channel.

    Volumes are first turned, without resampling, so that planes run from inferior to superior as far as the file tells:
    what is measured within planes then means the same for all.
    """
    from medcli.io.readers import read_channels

    image = read_channels(case.images)
    masks = _masks(case, image, regions)
    array, spacing = image.array, image.spacing
    if image.ndim == 3 and image.affine is not None:
        axes, flips = orientation(image.affine)
        cut = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
        array = array.transpose(*axes, 3)[cut]
        masks = {name: None if mask is None else mask.transpose(axes)[cut] for name, mask in masks.items()}
        spacing = None if spacing is None else tuple(spacing[axis] for axis in axes)
    if settings.spacing != "native":
        _check_spacing(image, settings, case)
    rows = []
    for name, mask in masks.items():
        for channel, region in regions_of_channels(array, mask, spacing, settings).items():
            empty = not region.inside.any()
            status = "the region is empty" if empty else OK
            values = extract(region, settings)
            rows.append(Row(name, channel, status, values, "" if empty else resolve(region, settings)))
    return rows


def _check_spacing(image: Image, settings: Features, case: Case) -> None:
    if image.spacing is None:
        raise DataError(
            f"{case.images[0].path}: features.spacing needs the image's own spacing, which the file does not tell."
        )
    if len(settings.spacing) != image.ndim:
        raise DataError(
            f"{case.images[0].path}: features.spacing has {len(settings.spacing)} numbers, the image has "
            f"{image.ndim} axes; give one per axis."
        )


def _masks(case: Case, image: Image, regions: Regions) -> dict[str, np.ndarray | None]:
    """Region to its mask; None: the whole image."""
    if regions.whole:
        return {"whole": None}
    if not case.masks:
        raise DataError(f"{case.images[0].path}: the case has no label file; expected one as for the others.")
    from medcli.io.masks import mask_names, read_mask

    labels = read_mask(case.masks, image)
    labels = np.where(labelled(labels, regions.ignore_label), labels, 0)
    if regions.named is not None:
        return {name: np.isin(labels, ids) if ids else labels > 0 for name, ids in regions.named.items()}
    names = mask_names(case.masks[0]) if len(case.masks) == 1 else {}
    found = [int(value) for value in np.unique(labels) if value > 0]
    if not found:
        raise DataError(f"{case.masks[0].path}: the label file is empty (no value above zero).")
    return {names.get(value, f"label_{value}"): labels == value for value in found}
