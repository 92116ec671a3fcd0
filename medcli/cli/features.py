"""`medcli features`: classic features of images and regions, as a table."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, Force, Json, Set


def features(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG|INPUT...",
            help="A job's YAML file, or files, folders, globs, a CSV, DICOM series folders, an .npz.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(metavar="CSV", help="Table to write; what its columns mean goes to a .json beside it."),
    ] = Path("features.csv"),
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For one INPUT: label file; every label is a region.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Show all features with unit and definition.")
    ] = False,
    set_: Set = [],  # noqa: B006  Typer copies it
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure intensities, shape, texture, colour, gradients, edges and corners.

    Over the whole image, or within the labels of a segmentation job. One bad file does not stop the others:
    its line of the table says why.

    \b
    Examples:
      medcli features configs/sts_pet_mr.yaml --set features.bin_width=0.5 --set features.discretise=fixed_width
      medcli features scan.nii.gz --mask tumour.nii.gz --out tumour.csv
      medcli features --list
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import from_dict, load_config
    from medcli.config.overrides import parse_override, put
    from medcli.errors import SomeCasesFailed, UsageError

    if list_:
        return _list(json)
    if not inputs:
        raise UsageError("expected a CONFIG or INPUT..., got none; `--list` shows what can be measured.")
    if out.suffix.lower() != ".csv":
        raise UsageError(f"--out: expected a name that ends with .csv, got '{out}'.")
    if not force and (out.exists() or out.with_suffix(".json").exists()):
        raise UsageError(
            f"{out}: it or its .json is there already; choose another name or replace it with --force."
        )

    from medcli.features.work import cases_of_config, cases_of_inputs, measure

    left_out: dict[str, str] = {}
    if len(inputs) == 1 and inputs[0].lower().endswith((".yaml", ".yml")):
        if mask is not None:
            raise UsageError("--mask goes with an INPUT; a config names its masks in data.labels.")
        settings = load_config(Path(inputs[0]), set_)
        cases, regions, left_out = cases_of_config(settings)
    else:
        values: dict = {"task": "classification"}
        for text in set_:
            key, value = parse_override(text)
            put(values, key, value)
        settings = from_dict(values, name="features")
        cases, regions = cases_of_inputs(inputs, mask)
    with progress_bars() as progress:
        result = measure(cases, regions, settings, out, left_out=left_out, progress=progress)
    if json:
        show.as_json(
            {
                name: getattr(result, name)
                for name in ("out", "cases", "rows", "features", "failed", "seconds")
            }
        )
    else:
        show.facts(
            "Measured",
            {
                "cases": result.cases,
                "failed": len(result.failed),
                "rows": result.rows,
                "features": result.features,
                "time": show.duration(result.seconds),
                "table": result.out,
                "meaning": result.out.with_suffix(".json"),
            },
        )
    if result.failed:
        raise SomeCasesFailed(f"{len(result.failed)} of {result.cases} cases failed; see {result.out}")
    return None


def _list(json: bool) -> None:
    """A table per family."""
    from medcli.cli import show
    from medcli.features.table import FAMILIES, describe

    if json:
        return show.as_json(describe())
    for family in FAMILIES:
        columns = (
            ("name", "unit", "ibsi", "definition")
            if any(f.ibsi for f in family.features)
            else ("name", "unit", "definition")
        )
        rows = [{name: row[name] for name in columns} for row in describe((family,))]
        show.table(f"{family.name}: {family.source}", rows)
    return None
