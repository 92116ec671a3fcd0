"""Features of prepared images, a row of numbers for each, as the baseline classifier takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcli.config.schema import Features
from medcli.errors import DataError
from medcli.features.feature import Family
from medcli.features.region import Region, region_of
from medcli.features.table import FAMILIES
from medcli.parallel import WorkerDied, run
from medcli.preprocessing.intensity import LUMINANCE
from medcli.preprocessing.plan import Plan
from medcli.progress import Progress, ignore

TOGETHER = 32
"""Images that a worker takes at a time."""


def whole_image(settings: Features) -> Features:
    """The settings that apply to prepared images: their values are normalised and their grid is that of the plan."""
    return settings.model_copy(
        update={"regions": "whole", "range": None, "spacing": "native", "discretise": "fixed_number"}
    )


def columns(plan: Plan, settings: Features) -> list[str]:
    """Names of the numbers in a row; with several channels that are no colours each has a prefix of its own."""
    names = [feature.name for family in _families(plan, settings) for feature in family.features]
    parts = _channels(plan)
    return [f"{part}{name}" for part in parts for name in names]


def row(image: np.ndarray, plan: Plan, settings: Features) -> np.ndarray:
    """(features,) float32, NaN where one is not defined.

    Args:
        image: Prepared, float32, spatial shape + channel. Where the plan normalises by one mean and spread for all
            images, that is undone first, so that values have the file's unit.
    """
    image = original_units(image, plan)
    families = _families(plan, settings)
    if plan.color == "rgb":
        grey = sum(weight * image[..., channel] for channel, weight in enumerate(LUMINANCE))
        regions = [region_of(np.asarray(grey), spacing=plan.spacing, colors=image)]
    else:
        regions = [region_of(image[..., channel], spacing=plan.spacing) for channel in range(image.shape[-1])]
    numbers = [value for region in regions for value in _numbers(region, families, settings)]
    return np.nan_to_num(np.array(numbers, np.float32), nan=np.nan, posinf=np.nan, neginf=np.nan)


def original_units(image: np.ndarray, plan: Plan) -> np.ndarray:
    """float64, without the normalising of the kind `fixed`."""
    out = image.astype(np.float64)
    for channel, rule in enumerate(plan.intensity):
        if rule.kind == "fixed":
            out[..., channel] = out[..., channel] * rule.std + rule.mean
    return out


@dataclass(frozen=True, eq=False)
class Job:
    paths: Sequence[Path]
    plan: Plan
    settings: Features


def matrix(
    paths: Sequence[Path], plan: Plan, settings: Features, *, workers: int, progress: Progress = ignore
) -> np.ndarray:
    """(images, features) float32 of prepared arrays, in worker processes. Raises DataError when one of them dies."""
    starts = range(0, len(paths), TOGETHER)
    found: dict[int, np.ndarray] = {}

    def receive(number: int, rows: np.ndarray | WorkerDied) -> None:
        if isinstance(rows, WorkerDied):
            raise DataError(f"{paths[starts[number]]}: its features cannot be measured: {rows.reason}.")
        found[number] = rows
        progress("features", min(len(paths), len(found) * TOGETHER), len(paths))

    progress("features", 0, len(paths))
    jobs = [Job(paths[start : start + TOGETHER], plan, settings) for start in starts]
    run(rows_of_files, jobs, receive, workers=workers, preload=("medcli.features.prepared",))
    return np.concatenate([found[number] for number in range(len(jobs))])


def rows_of_files(job: Job) -> np.ndarray:
    """In a worker: (images, features)."""
    return np.stack([row(np.load(path, allow_pickle=False), job.plan, job.settings) for path in job.paths])


def _channels(plan: Plan) -> list[str]:
    one = plan.color == "rgb" or plan.channels == 1
    return [""] if one else [f"channel{number}_" for number in range(plan.channels)]


def _families(plan: Plan, settings: Features) -> list[Family]:
    """Without those of form, which a whole image does not have, and with colours where there are any."""
    left_out = {"shape", "shape2d"} | (set() if plan.color == "rgb" else {"color"})
    wanted = {family.name for family in FAMILIES} if settings.families == "auto" else set(settings.families)
    return [family for family in FAMILIES if family.name in wanted - left_out]


def _numbers(region: Region, families: Sequence[Family], settings: Features) -> list[float]:
    if not region.inside.any():  # nothing but NaN
        return [np.nan for family in families for _ in family.features]
    return [value for family in families for value in family.compute(region, settings).values()]
