"""`medcli evaluate`: how good is a run?"""

import math
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medcli.cli.options import Debug, DryRun, Force, Json, RunFolder, Set

if TYPE_CHECKING:
    from medcli.evaluation.build import Result
    from medcli.run import Run


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
    name: Annotated[
        str | None,
        typer.Option(help="Name of the folder below RUN/evaluate. [default: the part or the data]"),
    ] = None,
    set_: Set = [],  # noqa: B006
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a run on raw images.

    Writes a table of cases, plots, the best and the worst cases, and one report. Of folds every case is predicted by
    the network that did not train on it (out_of_fold), and the test part, where there is one, by all together.

    \b
    Examples:
      medcli evaluate runs/bccd --gate 'map50>=0.8'
      medcli evaluate runs/bccd --data configs/hospital_b.yaml
      medcli evaluate runs/bccd --set evaluate.robustness=50 --gate 'robustness/noise>=0.9'
      medcli evaluate runs/bccd --set data.root=/mnt/moved/bccd
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.errors import GateNotMet, SomeCasesFailed
    from medcli.run import Run

    opened = Run.open(run)
    other = None if data is None else load_config(data, set_)
    if other is None:
        opened = replace(opened, config=load_config(run / "config.yaml", set_))
    parts = _parts(opened, split, name) if other is None else [split]
    if dry_run:
        from medcli.evaluation.selection import select_cases

        part = parts[-1] or (None if other else opened.config.evaluate.split)
        chosen = select_cases(opened, data=other, split=part)
        counts = Counter(chosen.split[case.name] for case in chosen.cases)
        content = {"run": run, "part": chosen.part, "cases": len(chosen.cases), "by part": dict(counts)}
        return show.as_json(content) if json else show.facts("Would evaluate", content)

    from medcli.quiet import import_tensorflow

    missed: GateNotMet | None = None
    with progress_bars() as progress:
        import_tensorflow()
        from medcli.evaluation.evaluate import evaluate as work

        earlier = [work(opened, split=part, force=force, progress=progress) for part in parts[:-1]]
        try:
            result = work(
                opened, data=other, split=parts[-1], gates=gate, name=name, force=force, progress=progress
            )
        except GateNotMet as fault:
            if fault.result is None:
                raise
            missed, result = fault, fault.result
    if json:
        show.as_json(asdict(result) | {"out_of_fold": asdict(earlier[0])} if earlier else result)
    else:
        for one in [*earlier, result]:
            show_result(one)
    if missed:
        raise missed
    if result.failed:
        raise SomeCasesFailed(
            f"{len(result.failed)} of {result.cases + len(result.failed)} cases failed; "
            f"see {result.folder / 'cases.csv'}"
        )
    return None


def _parts(run: "Run", split: str | None, name: str | None) -> list[str | None]:
    """Of folds with a test part, unless something else is asked for: every case out of fold, then the test part."""
    asked = split or (None if run.config.evaluate.split == "auto" else run.config.evaluate.split)
    if run.folds and asked is None and name is None and any(one.split == "test" for one in run.records):
        return ["val", "test"]
    return [split]


def show_result(result: "Result") -> None:
    from medcli.cli import show

    rows = []
    for measure, value in result.measures.items():
        low, high = result.intervals.get(measure, (math.nan, math.nan))
        shown = "undefined" if math.isnan(value) else f"{value:.4f}"
        interval = "" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
        rests_on = {
            name: found for name, found in result.support.get(measure, {}).items() if found is not None
        }
        rows.append({"measure": measure, "value": shown, "95 % interval": interval} | rests_on)
    show.table(f"{result.cases} cases of {result.patients} patients", rows)
    for note in result.notes:
        print(note)
    print(f"Report: {result.folder / 'report.html'}  ({show.duration(result.seconds)})")
