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
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network on prepared data.

    Ctrl-C and SIGTERM save the state first; `--resume` continues to the same result.

    \b
    Example:
      medcli train configs/bccd.yaml --set train.max_minutes=20
    """
    from medcli.cli import show
    from medcli.cli.display import TrainingDisplay
    from medcli.config.loading import load_config

    settings = load_config(config, set_)
    prepared_folder = (prepared or settings.prepared or Path()).absolute()
    run_folder = (run or settings.run or Path()).absolute()
    settings = settings.model_copy(update={"prepared": prepared_folder, "run": run_folder})
    if dry_run:
        from medcli.preprocessing.prepared import Prepared

        data = Prepared.open(prepared_folder)
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
        return show.as_json(content) if json else show.facts("Would train", content)

    with TrainingDisplay() as display:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        from medcli.training import train as work

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
