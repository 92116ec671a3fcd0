"""`medcli compare`: is one run better than another, or is it chance?"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medcli.cli.options import Debug, Force, Json

if TYPE_CHECKING:
    from medcli.evaluation.compare import Comparison

RunOrResult = "A run folder that was evaluated, or one result of it (RUN/evaluate/NAME)."


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help=RunOrResult)],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help=RunOrResult)],
    split: Annotated[
        str | None,
        typer.Option(help="Only cases that both runs count to this part: train, val, test or all."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the results below RUN/evaluate. [default: test, val, or what both have]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write comparison.json, measures.csv, tests.csv, groups.csv here."
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two evaluated runs on the cases they share.

    Paired bootstrap by patient, DeLong and McNemar (classification), Wilcoxon (segmentation, regression); with group
    columns every group, the worst group and the gaps before (A) and after (B). Reads what `medcli evaluate` has stored;
    no network is run.

    \b
    Examples:
      medcli compare runs/resnet runs/densenet
      medcli compare runs/a runs/b --name hospital_b --json
      medcli compare runs/plain runs/balanced --out before_after
    """
    from medcli.cli import show
    from medcli.errors import UsageError
    from medcli.evaluation.compare import compare as work

    if out is not None and (out / "comparison.json").exists() and not force:
        raise UsageError(f"{out}: holds a comparison already; replace it with --force.")
    found = work(run_a, run_b, split=split, name=name)
    if out is not None:
        found.save(out)
    if json:
        return show.as_json(found)
    return _show(found)


def _show(found: "Comparison") -> None:
    from medcli.cli import show

    print(f"A: {found.a}\nB: {found.b}")
    form = "{} {}" if found.task == "detection" else "{} {:.1%}"
    shares = ", ".join(form.format(label, share) for label, share in found.prevalence.items())
    print(f"{found.cases} shared cases of {found.patients} patients" + (f"; {shares}" if shares else ""))
    rows = [
        {
            "measure": row.measure,
            "A": _number(row.a),
            "B": _number(row.b),
            "A - B": _number(row.difference, sign=True),
            "95 % interval": "" if math.isnan(row.low) else f"{row.low:+.4f} to {row.high:+.4f}",
            "p": _p(row.p),
            "p, Holm": _p(row.p_holm),
            "cases": row.cases,
            "patients": row.patients,
        }
        for row in found.measures
    ]
    show.table(f"Paired bootstrap, {found.resamples} resamples of patients", rows)
    if found.tests:
        tests = [
            {
                "test": test.test,
                "about": test.about,
                "found": test.found,
                "p": _p(test.p),
                "cases": test.cases,
                "patients": test.patients,
            }
            for test in found.tests
        ]
        show.table("Tests", tests)
    _show_groups(found)
    for note in found.notes:
        print(note)


def _show_groups(found: "Comparison") -> None:
    """All cases, then a table for every column; pairs of columns are in the files."""
    from medcli.cli import show

    compared = {row.measure for row in found.groups if row.kind == "worst group"}
    tables: dict[str, list[dict[str, str]]] = {}
    for row in found.groups:
        if " & " in row.columns or (row.kind == "group" and row.measure not in compared):
            continue
        tables.setdefault(row.columns, []).append(
            {
                "": "" if row.kind in ("all", "group") else row.kind,
                "group": row.group,
                "measure": row.measure,
                "A (before)": _number(row.a),
                "B (after)": _number(row.b),
                "B - A": _number(row.difference, sign=True),
                "95 % interval": _interval(row.low, row.high),
                "patients": str(row.patients),
            }
        )
    for columns, rows in tables.items():
        title = "All cases: the price" if columns == "all cases" else f"Groups of {columns}"
        show.table(f"{title}, before and after", rows)


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:+.3f} to {high:+.3f}"


def _number(value: float, *, sign: bool = False) -> str:
    return "undefined" if math.isnan(value) else f"{value:+.4f}" if sign else f"{value:.4f}"


def _p(value: float) -> str:
    return "" if math.isnan(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"
