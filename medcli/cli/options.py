"""Options that several commands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.faults import remember_debug

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The job's YAML file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that `medcli train` wrote.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. train.epochs=5. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", callback=remember_debug, help="On a fault show where it happened (no data values)."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, say what would be done, write nothing.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue after an interruption.")]
