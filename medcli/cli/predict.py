"""`medcli predict`: new images through a run's network."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, DryRun, Force, Json, Resume, RunFolder, Set


def predict(
    run: RunFolder,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Files, folders, globs, a CSV, DICOM series folders or an .npz."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the predictions.")],
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Also draw the predictions into pictures.")
    ] = False,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Segmentation: also write the probabilities.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Segmentation: also write maps of the uncertainty, in bits.")
    ] = False,
    flips: Annotated[
        bool, typer.Option("--flips", help="Average over mirrored images: slower, often better.")
    ] = False,
    set_: Set = [],  # noqa: B006  Typer copies it
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict on new images.

    One bad file does not stop the others; status.csv tells. Label images hold the ids of the training labels;
    where several ids (or 255) stand for a class they hold 1, 2, ... in the order of the classes.
    With thresholds of groups a CSV tells the group of each image (columns such as sex); thresholds.csv says whose
    threshold decided it.

    \b
    Example:
      medcli predict runs/bccd new_smears/ --out predictions --overlays
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.errors import SomeCasesFailed
    from medcli.run import Run

    opened = replace(Run.open(run), config=load_config(run / "config.yaml", set_))
    wanted = {
        "overlays": overlays,
        "save_probabilities": save_probabilities,
        "uncertainty": uncertainty,
        "flips": flips,
    }
    settings = opened.config.predict.model_copy(update={name: True for name, on in wanted.items() if on})
    if dry_run:
        from medcli.prediction.inputs import cases_for, passed_over

        cases = cases_for(opened, inputs, out)
        names = [case.name for case in cases]
        content = {"run": run, "cases": len(names), "first": names[:5], "would write": out}
        content |= {"left out": left} if (left := passed_over(opened, inputs, cases, out)) else {}
        return show.as_json(content) if json else show.facts("Would predict", content)

    with progress_bars() as progress:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        from medcli.prediction.predict import predict as work

        summary = work(opened, inputs, out, settings=settings, force=force, resume=resume, progress=progress)
    if json:
        show.as_json(summary)
    else:
        show.facts(
            "Predicted",
            {
                "cases": summary.cases,
                "failed": len(summary.failed),
                "done before": summary.resumed,
                "time": show.duration(summary.seconds),
                "folder": summary.folder,
            },
        )
        for note in summary.notes:
            print(note)
    if summary.failed:
        failed = f"{len(summary.failed)} of {summary.cases} cases failed"
        raise SomeCasesFailed(f"{failed}; see {out / 'status.csv'}")
    return None
