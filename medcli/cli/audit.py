"""`medcli audit`: is this data set fit to learn from?"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import ConfigFile, Debug, Json, Set


def audit(
    config: ConfigFile,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="For audit.json and audit.html. [default: beside the prepared folder]"
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Write audit.html, with pictures.")] = True,
    gate: Annotated[
        str, typer.Option(metavar="none|leakage", help="leakage: exit with 4 when the split in use leaks.")
    ] = "none",
    set_: Set = [],  # noqa: B006  Typer copies it
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Look for leaks, duplicates, confounding, shortcuts and wrong labels.

    Runs before any training, on the images and the table alone; every column of the table is looked at.

    \b
    Examples:
      medcli audit configs/nih_cxr64.yaml
      medcli audit job.yaml --set data.columns.split=fold --gate leakage
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.errors import GateNotMet, UsageError

    if gate not in ("none", "leakage"):
        raise UsageError(f"--gate: expected none or leakage, got '{gate}'.")
    settings = load_config(config, set_)
    assert settings.prepared is not None  # filled in by load_config
    folder = out or settings.prepared.with_name(f"{settings.prepared.name}-audit")

    from medcli.audit.findings import plural
    from medcli.audit.work import audit as work

    with progress_bars() as progress:
        result = work(settings, folder, page=report, progress=progress)
    if json:
        print((folder / "audit.json").read_text(encoding="utf-8"), end="")
    else:
        rows = [
            {"level": finding.level, "check": finding.check, "finding": finding.text}
            for finding in result.findings
        ]
        counts = Counter(finding.level for finding in result.findings)
        title = f"{result.cases} cases of {result.patients} patients"
        found = f"{plural(counts['leak'], 'leak')}, {plural(counts['warning'], 'warning')}"
        show.table(f"{title}: {found}", rows)
        where = folder / ("audit.html" if report else "audit.json")
        print(f"Report: {where}  ({show.duration(result.seconds)})")
    leaks = [finding for finding in result.findings if finding.level == "leak"]
    if gate == "leakage" and leaks:
        raise GateNotMet(f"Not met: no leakage. {leaks[0].text}", result)
