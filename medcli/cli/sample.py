"""`medcli sample`: made-up images with known truth."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, Force, Json


class Kind(StrEnum):
    classification = "classification"
    regression = "regression"
    detection = "detection"
    segmentation = "segmentation"
    volumes = "volumes"


class Format(StrEnum):
    auto = "auto"
    png = "png"
    dicom = "dicom"
    nifti = "nifti"
    voc = "voc"
    coco = "coco"


def sample(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="classification: chest X-rays with and without opacities; regression: with the width of the heart; "
            "detection: blood smears; "
            "segmentation: pictures; volumes: scans with two organs."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write, with a config.yaml ready to run.")
    ],
    cases: Annotated[int | None, typer.Option(min=1, help="How many pictures. [default: by kind]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="classification, regression: png, dicom; detection: voc, coco; segmentation: png; "
            "volumes: nifti, dicom",
        ),
    ] = Format.auto,
    faulty: Annotated[bool, typer.Option("--faulty", help="Add broken and contradictory files.")] = False,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write made-up images with known truth.

    \b
    Example:
      medcli sample volumes demo/volumes && medcli preprocess demo/volumes/config.yaml
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.sampledata import write_sample

    with progress_bars() as progress:
        config = write_sample(
            kind.value,
            out,
            cases=cases,
            seed=seed,
            format=format_.value,
            faulty=faulty,
            force=force,
            progress=progress,
        )
    if json:
        show.as_json({"config": config, "kind": kind.value, "seed": seed})
    else:
        print(f"Written. Next: medcli preprocess {config}")
