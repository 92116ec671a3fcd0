"""`medcli ensemble`: several runs as one."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, Force, Json


def ensemble(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Finished runs, made from one prepared folder.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder to write.")],
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make one run of several, which predicts the mean of what they predict.

    Runs with other networks, seeds or settings of training, and the folds of `medcli train --folds`. `predict`,
    `evaluate`, `report` and `compare` take it like any run. The weights are copied.

    \b
    Example:
      medcli ensemble runs/bccd_seed0 runs/bccd_seed1 runs/bccd_seed2 --out runs/bccd_three
    """
    from medcli.cli import show
    from medcli.ensemble.assemble import ensemble as work

    made = work(runs, out, force=force)
    content = {"ensemble": made.folder, "members": len(made.members), "classes": made.plan.classes}
    return show.as_json(content) if json else show.facts("Made", content)
