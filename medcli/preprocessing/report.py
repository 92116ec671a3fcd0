"""The prepared folder's report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medcli.case import Problem
from medcli.config.schema import Config
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Record
from medcli.report import Report


def write_report(
    out: Path,
    config: Config,
    plan: Plan,
    numbers: dict[str, Any],
    records: Sequence[Record],
    problems: Sequence[Problem],
) -> None:
    page = Report("Prepared data", config.name or "")
    page.heading("Decisions").table([{"what": k, "why": v} for k, v in plan.reasons.items()])
    page.write(out / "report.html")
