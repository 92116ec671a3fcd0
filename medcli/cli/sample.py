"""`medcli sample`: made-up images with known truth."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, Force, Json


class Kind(StrEnum):
    classification = "classification"
    detection = "detection"
    segmentation = "segmentation"
    volumes = "volumes"


class Format(StrEnum):
    png = "png"
    dicom = "dicom"
    nifti = "nifti"


def sample(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="classification: chest radiographs with and without opacities; detection: blood smears; "
            "segmentation: pictures; volumes: scans with two organs."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write, with a config.yaml ready to run.")
    ],
    cases: Annotated[int | None, typer.Option(min=1, help="How many cases. [default: by kind]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    format_: Annotated[
        Format | None, typer.Option("--format", help="File format. [default: by kind]")
    ] = None,
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
    from medcli.errors import UsageError
    from medcli.sampledata import write_sample

    if out.is_dir() and any(out.iterdir()) and not force:
        raise UsageError(f"{out}: the folder is not empty; choose another, or add --force.")
    chosen = {"cases": cases, "format": None if format_ is None else format_.value}
    config = write_sample(
        kind.value, out, seed=seed, faulty=faulty, **{name: value for name, value in chosen.items() if value}
    )
    if json:
        show.as_json({"config": config, "kind": kind.value, "seed": seed})
    else:
        print(f"Written. Next: medcli preprocess {config}")
