"""`medcli train`: a prepared folder to a run folder."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import ConfigFile, Debug, DryRun, Force, Json, Resume, Set


def train(
    config: ConfigFile,
    prepared: Annotated[
        Path | None,
        typer.Option(metavar="PREPARED", help="Prepared folder. [default: as the config names it]"),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run folder to write. [default: as the config names it]"),
    ] = None,
    set_: Set = [],  # noqa: B006  Typer copies it
    resume: Resume = False,
    force: Force = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few steps on a few cases: does everything work?")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=2,
            help="Cross-validation: train K networks, each on all but one K-th of the patients, and their ensemble.",
        ),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Only this fold, 0 to K - 1, so that several machines share the work."
        ),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network on prepared data.

    Ctrl-C and SIGTERM save the state first; `--resume` continues to the same result.

    With --folds RUN/fold_0, RUN/fold_1, ... are runs by themselves, and RUN is their ensemble as soon as all are
    trained: `medcli predict RUN` averages them, RUN/out_of_fold holds every case predicted by the network that did
    not train on it. The folds share train.max_minutes evenly. --resume skips finished folds.

    \b
    Examples:
      medcli train configs/bccd.yaml --set train.max_minutes=20
      medcli train configs/bccd.yaml --folds 5
      medcli train configs/bccd.yaml --folds 5 --fold 3      # on the fourth of five machines
    """
    from medcli.cli import show
    from medcli.cli.display import TrainingDisplay
    from medcli.config.loading import load_config
    from medcli.errors import UsageError

    if folds is not None:
        set_ = [*set_, f"data.split.folds={folds}", f"data.split.fold={fold or 0}"]
    settings = load_config(config, set_)
    if fold is not None and folds is None:
        if not settings.data.split.folds:
            raise UsageError("--fold: expected --folds K beside it, or data.split.folds in the config.")
        settings = load_config(config, [*set_, f"data.split.fold={fold}"])
    prepared_folder = (prepared or settings.prepared or Path()).absolute()
    run_folder = (run or settings.run or Path()).absolute()
    settings = settings.model_copy(update={"prepared": prepared_folder, "run": run_folder})
    if dry_run:
        from medcli.preprocessing.prepared import Prepared

        data = Prepared.open(prepared_folder)
        if settings.data.split.folds:
            from medcli.preprocessing.folds import in_fold

            data = in_fold(data, settings.data.split, settings.seed)
        content = {
            "task": settings.task,
            "training cases": len(data.split("train")),
            "validation cases": len(data.split("val")),
            "classes": data.plan.classes,
            "network": settings.model.name,
            "batch size": data.plan.batch_size
            if settings.train.batch_size == "auto"
            else settings.train.batch_size,
            "would write": run_folder,
        }
        if folds is not None or fold is not None:
            content["folds"] = settings.data.split.folds if fold is None else f"only {fold}"
        return show.as_json(content) if json else show.facts("Would train", content)

    with TrainingDisplay() as display:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        if folds is not None or fold is not None:
            from medcli.cli.folds import train_and_show

            return train_and_show(
                settings, prepared_folder, run_folder, display,
                only=fold, json=json, resume=resume, force=force, smoke=smoke,
            )  # fmt: skip
        from medcli.ensemble.cascade import train as work

        result = work(
            settings, prepared_folder, run_folder, resume=resume, force=force, smoke=smoke, on_event=display
        )
    if json:
        return show.as_json(result)
    return show.facts(
        "Trained",
        {
            "epochs": result.epochs,
            **{f"best {name}": value for name, value in result.best.items()},
            "time": show.duration(result.seconds),
            "run": result.folder,
        },
    )
