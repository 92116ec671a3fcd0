"""`medcli explain`: why does a run answer so?"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medcli.cli.options import Debug, DryRun, Force, Json, RunFolder, Set

if TYPE_CHECKING:
    from medcli.explain.work import Summary


def explain(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the explanations.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="Files, folders, globs, a CSV, DICOM series folders or an .npz. Without any: the run's own cases.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Of gradcam, gradcam++, layercam, ig (integrated gradients), occlusion, with commas. "
            "[default: by the task]",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Explain this class, not the answer.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(metavar="K", help="Explain the K strongest classes, boxes or regions.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layer for activation maps; a wrong name lists all.")
    ] = None,
    check: Annotated[
        bool | None, typer.Option("--check/--no-check", help="Test whether the maps can be believed.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="Without inputs: other data, described by a config."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Without inputs: train, val, test or all. [default: test if there is one, else val]"
        ),
    ] = None,
    cases: Annotated[
        int, typer.Option(min=1, metavar="N", help="Without inputs: so many, evenly chosen.")
    ] = 8,
    set_: Set = [],  # noqa: B006  Typer copies it
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show where a run sees the evidence for its answers, and test whether the maps can be believed.

    With the run's own cases (no INPUT) the maps are also compared with the true boxes or masks.

    \b
    Examples:
      medcli explain runs/chest new_xrays/ --out why
      medcli explain runs/bccd --split val --cases 20 --methods layercam --out why
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.errors import SomeCasesFailed
    from medcli.run import Run

    opened = Run.open(run)
    if opened.members:
        from medcli.errors import UsageError

        raise UsageError(
            f"{run}: an ensemble of {len(opened.members)} networks, whose maps do not add up to one; explain one of "
            f"them, such as {opened.members[0].folder}."
        )
    if opened.coarse is not None:
        from medcli.errors import UsageError

        raise UsageError(
            f"{run}: a cascade, whose answers go back to two coarse networks and a fine one; explain a network trained "
            f"without (model.cascade: off), or one of the coarse ones, such as {opened.coarse.members[0].folder}."
        )
    wanted = {
        "methods": None if methods is None else f"[{methods}]",
        "top": top,
        "layer": layer,
        "check": None if check is None else str(check).lower(),
    }
    overrides = [f"explain.{name}={value}" for name, value in wanted.items() if value is not None]
    other = None if data is None else load_config(data, set_)
    config = load_config(run / "config.yaml", [*(set_ if other is None else []), *overrides])
    opened = replace(opened, config=config)
    chosen, plan, notes = _cases(opened, inputs or [], out, other, split, cases)
    if dry_run:
        names = [case.name for case in chosen]
        content = {"run": run, "cases": len(names), "first": names[:5], "would write": out}
        return show.as_json(content) if json else show.facts("Would explain", content)

    with progress_bars() as progress:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        from medcli.explain.work import explain as work

        summary = work(
            opened, chosen, out, label=label, plan=plan, notes=notes, force=force, progress=progress
        )
    _show(summary, json)
    if summary.failed:
        failed = f"{len(summary.failed)} of {summary.cases} cases failed"
        raise SomeCasesFailed(f"{failed}; see {out / 'status.csv'}")
    return None


def _cases(run, inputs, out, other, split, number):
    """What to explain, what the values in its masks mean, and what a reader must know."""
    if inputs:
        from medcli.errors import UsageError
        from medcli.prediction.inputs import cases_for

        if other is not None or split is not None:
            raise UsageError("--data and --split choose among labelled cases; leave the inputs out.")
        return cases_for(run, inputs, out), None, []
    from medcli.evaluation.selection import select_cases

    selection = select_cases(run, data=other, split=split or (None if other else run.config.evaluate.split))
    total = len(selection.cases)
    chosen = evenly(total, number)
    notes = [f"{len(chosen)} of {total} cases of the part '{selection.part}', evenly chosen."]
    return [selection.cases[place] for place in chosen], selection.plan, notes


def evenly(total: int, number: int) -> list[int]:
    """At most `number` places out of `total`, from the first to the last.

    >>> evenly(10, 4), evenly(4, 8), evenly(5, 1)
    ([0, 3, 6, 9], [0, 1, 2, 3], [0])
    """
    number = min(number, total)
    return [round(place * (total - 1) / max(number - 1, 1)) for place in range(number)]


def _show(summary: "Summary", json: bool) -> None:
    from medcli.cli import show

    if json:
        return show.as_json(summary)
    rows = []
    for row in summary.methods:
        shown = {"method": row["title"], "maps": row["maps"]}
        if "passed" in row:
            shown |= {
                "passed": row["passed"],
                "failed": row["failed"],
                "cannot be told": row["cannot_be_told"],
            }
            shown["gain over misplaced"] = _interval(row, "over_misplaced")
            shown["over centre"] = _interval(row, "over_centre")
        if "hits" in row:
            shown["hit rate"] = _interval(row, "hit_rate")
            shown["by chance"] = row["hit_rate_by_chance"]
        rows.append(shown)
    show.table("Can the maps be believed?", rows)
    show.facts(
        "Explained",
        {
            "cases": summary.cases,
            "failed": len(summary.failed),
            "time": show.duration(summary.seconds),
            "report": summary.folder / "report.html",
        },
    )
    for sentence in summary.unbelievable[:5]:
        show.note(sentence)
    if len(summary.unbelievable) > 5:
        show.note(f"{len(summary.unbelievable) - 5} more maps failed their check; see the report")
    return None


def _interval(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    text = f"{row[name]:.2f}"
    return f"{text} ({low:.2f} to {high:.2f})" if low == low else text
