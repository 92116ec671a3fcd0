"""`medcli evaluate`: how good is a run?"""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, DryRun, Force, Json, RunFolder, Set


def evaluate(
    run: RunFolder,
    data: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="Other data, described by a config. [default: the run's own]"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all. [default: test if there is one, else val]")
    ] = None,
    gate: Annotated[
        list[str], typer.Option(metavar="MEASURE>=VALUE", help="Exit with 4 unless it holds. Repeatable.")
    ] = [],  # noqa: B006  Typer copies it
    set_: Set = [],  # noqa: B006
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a run on raw images.

    Writes a table of cases, plots, the best and the worst cases, and one report.

    \b
    Examples:
      medcli evaluate runs/bccd --gate 'ap50>=0.8'
      medcli evaluate runs/bccd --data configs/hospital_b.yaml --split all
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.quiet import import_tensorflow

    with progress_bars() as progress:
        import_tensorflow()
        from medcli.evaluation.evaluate import evaluate as work

        result = work(run, data=data, split=split, gates=gate, force=force, progress=progress)
    show.as_json(result)
