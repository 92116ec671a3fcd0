"""`medcli preprocess`: raw images to a prepared folder."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import ConfigFile, Debug, DryRun, Force, Json, Set


def preprocess(
    config: ConfigFile,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PREPARED", help="Prepared folder. [default: as the config names it]"),
    ] = None,
    set_: Set = [],  # noqa: B006  Typer copies it
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find, check, split and prepare the images of a job.

    Runs again only for what changed, and continues after an interruption.

    \b
    Example:
      medcli preprocess configs/bccd.yaml --set data.root=~/data/bccd
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.errors import SomeCasesFailed
    from medcli.parallel import get_ready
    from medcli.preprocessing.workers import MODULES

    if not dry_run:
        get_ready(MODULES)
    settings = load_config(config, set_)
    if out is not None:
        settings = settings.model_copy(update={"prepared": out.absolute()})
    if dry_run:
        from medcli.io.cases import discover

        found = discover(settings)
        content = {
            "task": settings.task,
            "format": found.format,
            "cases": len(found.cases),
            "classes": found.classes,
            "problems": [f"{problem.file}: {problem.reason}" for problem in found.problems],
            "would write": settings.prepared,
        }
        return show.as_json(content) if json else show.facts("Found", content)

    from medcli.preprocessing.build import preprocess as build

    assert settings.prepared is not None  # filled in by load_config
    with progress_bars() as progress:
        summary = build(settings, settings.prepared, force=force, progress=progress)
    if json:
        show.as_json(summary)
    else:
        show.facts(
            "Prepared",
            {
                "cases": summary.cases,
                **{f"in {part}": count for part, count in summary.splits.items()},
                "left out": summary.left_out,
                "unchanged since the last run": summary.reused,
                "time": show.duration(summary.seconds),
                "folder": summary.folder,
                "report": summary.folder / "report.html",
            },
        )
    if summary.left_out:
        count = "1 case was" if summary.left_out == 1 else f"{summary.left_out} cases were"
        raise SomeCasesFailed(f"{count} left out; see {summary.folder / 'problems.csv'}")
    return None
