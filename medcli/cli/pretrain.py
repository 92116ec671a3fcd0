"""`medcli pretrain`: a start for later training, from images without labels."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import ConfigFile, Debug, DryRun, Force, Json, Resume, Set

COLLAPSED = (
    "the network has collapsed: all images look alike to it (spread {spread:.3f}, effective rank {rank:.1f}), so the "
    "run is no good start. Train longer, with larger batches, or with a lower train.learning_rate."
)


def pretrain(
    config: ConfigFile,
    prepared: Annotated[
        Path | None,
        typer.Option(metavar="PREPARED", help="Prepared folder. [default: as the config names it]"),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Run folder to write. [default: as the config names it, with _pretrained]"
        ),
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
    """Train a classifier's network on images alone, as a start where labels are few.

    Two differently changed views of an image are to look alike to the network, different images not (VICReg). Labels,
    where there are any, are not learned from. The run folder is the start of a training: --set model.weights=RUN.

    \b
    Example:
      medcli pretrain configs/pneumoniamnist.yaml --set train.max_minutes=5
      medcli train configs/pneumoniamnist.yaml --set model.weights=runs/pneumoniamnist_pretrained
    """
    from medcli.cli import show
    from medcli.cli.display import TrainingDisplay
    from medcli.config.loading import load_config

    settings = load_config(config, set_, implied=["train.learn_from=images"])
    prepared_folder = (prepared or settings.prepared or Path()).absolute()
    default = (settings.run or Path()).absolute()
    run_folder = (run or default.with_name(f"{default.name}_pretrained")).absolute()
    settings = settings.model_copy(update={"prepared": prepared_folder, "run": run_folder})
    if dry_run:
        from medcli.preprocessing.prepared import Prepared

        data = Prepared.open(prepared_folder)
        content = {
            "images": len(data.split("train")),
            "validation images": len(data.split("val")),
            "network": settings.model.name,
            "would write": run_folder,
        }
        return show.as_json(content) if json else show.facts("Would pretrain", content)

    with TrainingDisplay() as display:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        from medcli.training import train as work

        result = work(
            settings, prepared_folder, run_folder, resume=resume, force=force, smoke=smoke, on_event=display
        )
    from medcli.tasks.views import collapsed

    bad = collapsed(result.best)
    if json:
        show.as_json(vars(result) | {"collapsed": bad})
    else:
        measured = {name.removeprefix("val_").replace("_", " "): value for name, value in result.best.items()}
        show.facts(
            "Pretrained",
            {
                "epochs": result.epochs,
                **{f"best {name}": value for name, value in measured.items() if name != "negative loss"},
                "time": show.duration(result.seconds),
                "run": result.folder,
            },
        )
    if bad:
        show.note(COLLAPSED.format(spread=result.best["val_spread"], rank=result.best["val_effective_rank"]))
    return None
