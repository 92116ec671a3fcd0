"""`medcli embed`: how does a run see cases beside one another?"""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medcli.cli.options import Debug, DryRun, Force, Json, RunFolder, Set

if TYPE_CHECKING:
    from medcli.case import Case
    from medcli.config.schema import Config
    from medcli.run import Run

TRAINED_ON = (
    "The network learned from {count} of these cases with their labels, so it may have learned wrong ones by heart; "
    "embed with a run of `medcli pretrain`, or a part that it did not train on, to find those."
)


class MapKind(StrEnum):
    """What makes the two axes of the map."""

    auto = "auto"
    pca = "pca"
    tsne = "tsne"


def embed(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the embeddings.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="Files, folders, globs, a CSV, DICOM series folders or an .npz. Without any: the run's own cases, "
            "with their labels.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", help="Without inputs: other data with labels, described by a config."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Without inputs: train, val, test or all. [default: all]")
    ] = None,
    clusters: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="So many clusters. [default: by the silhouette]")
    ] = None,
    map_: Annotated[
        MapKind,
        typer.Option("--map", help="What makes the map; auto: t-SNE for 30 to 3000 cases, else PCA."),
    ] = MapKind.auto,
    neighbours: Annotated[
        int, typer.Option(min=1, metavar="N", help="Neighbours listed for every case.")
    ] = 5,
    set_: Set = [],  # noqa: B006  Typer copies it
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Lay out cases by what a run's network makes of them: clusters, neighbours, a map, suspected labels.

    Works with every run, also those of `medcli pretrain`. Labels (of the run's own cases, or with --data) colour
    the map, and those that a case's neighbours contradict are listed.

    \b
    Examples:
      medcli embed runs/chest --out structure
      medcli embed runs/chest new_xrays/ --out structure --clusters 4
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.errors import SomeCasesFailed, UsageError
    from medcli.run import Run

    opened = Run.open(run)
    if opened.members:
        raise UsageError(
            f"{run}: an ensemble of {len(opened.members)} networks, each with features of its own; embed with one of "
            f"them, such as {opened.members[0].folder}."
        )
    other = None if data is None else load_config(data, set_)
    opened = replace(opened, config=load_config(run / "config.yaml", set_ if other is None else []))
    cases, parts, notes = _cases(opened, inputs or [], out, other, split)
    if dry_run:
        names = [case.name for case in cases]
        content = {"run": run, "cases": len(names), "first": names[:5], "would write": out}
        return show.as_json(content) if json else show.facts("Would embed", content)

    with progress_bars() as progress:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        from medcli.embedding.examine import Wanted
        from medcli.embedding.work import embed as work

        wanted = Wanted(clusters, map_.value, neighbours)
        summary = work(
            opened, cases, out, wanted=wanted, parts=parts, notes=notes, force=force, progress=progress
        )
    if json:
        show.as_json(summary)
    else:
        show.facts(
            "Embedded",
            {
                "cases": summary.cases,
                "failed": len(summary.failed),
                "features": summary.features,
                "clusters": summary.clusters,
                "silhouette": summary.silhouette,
                "clusters go with (Cramér's V)": summary.follows or None,
                "label by neighbours (AUROC)": summary.neighbours_auroc,
                "suspected labels": summary.suspects,
                "time": show.duration(summary.seconds),
                "report": summary.folder / "report.html",
            },
        )
        for sentence in summary.notes:
            show.note(sentence)
    if summary.failed:
        raise SomeCasesFailed(
            f"{len(summary.failed)} of {summary.cases} cases failed; see {out / 'cases.csv'}"
        )
    return None


def _cases(
    run: "Run", inputs: list[str], out: Path, other: "Config | None", split: str | None
) -> tuple[list["Case"], dict[str, str], list[str]]:
    """The cases, the part of each, and what a reader must know."""
    if inputs:
        from medcli.errors import UsageError
        from medcli.prediction.inputs import cases_for

        if other is not None or split is not None:
            raise UsageError("--data and --split choose among labelled cases; leave the inputs out.")
        return cases_for(run, inputs, out), {}, []
    from medcli.evaluation.selection import select_cases

    selection = select_cases(run, data=other, split=split or "all")
    trained = (
        sum(selection.split.get(case.name) == "train" for case in selection.cases) if other is None else 0
    )
    labelled = run.config.train.learn_from == "labels" and any(
        len(case.classes) == 1 for case in selection.cases
    )
    notes = [TRAINED_ON.format(count=trained)] if trained and labelled else []
    return selection.cases, selection.split, notes
