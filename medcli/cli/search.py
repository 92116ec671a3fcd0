"""`medcli search`: better settings within a stated time."""

from pathlib import Path
from typing import Annotated, Any

import typer

from medcli.cli.options import ConfigFile, Debug, DryRun, Force, Json, Resume, Set


def search(
    config: ConfigFile,
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Time for all trials together, earlier ones of --resume included.")
    ],
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to search, as YAML: `setting: [values]` or {low, high, log}. [default: by task]",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write. [default: the run's, with _search]")
    ] = None,
    prepared: Annotated[
        Path | None,
        typer.Option(metavar="PREPARED", help="Prepared folder. [default: as the config names it]"),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Most trials. [default: as many as there is time for]")
    ] = None,
    trial_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Time of a trial that is not stopped early. [default: a fifteenth of --minutes]"
        ),
    ] = None,
    set_: Set = [],  # noqa: B006  Typer copies it
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for better settings of network and training, judged by the validation part.

    Many short trainings from one prepared folder; those that fall behind are stopped early. The test part is not
    touched. Writes trials.csv, search.png and best.yaml, a config for `medcli train`.

    \b
    Examples:
      medcli search configs/bccd.yaml --minutes 120
      medcli search configs/bccd.yaml --minutes 60 --space space.yaml
    with a space.yaml such as
      train.learning_rate: {low: 1e-4, high: 1e-2, log: true}
      train.augment: [light, medium, strong]
    """
    from medcli.cli import show
    from medcli.cli.display import TrainingDisplay
    from medcli.config.loading import load_config
    from medcli.search.space import default_space, read_space

    settings = load_config(config, set_)
    prepared_folder = (prepared or settings.prepared or Path()).absolute()
    run = settings.run or Path("run")
    folder = (out or run.with_name(f"{run.name}_search")).absolute()
    chosen = default_space(settings) if space is None else read_space(space, config)
    if dry_run:
        from medcli.preprocessing.prepared import Prepared

        data = Prepared.open(prepared_folder)
        content: dict[str, Any] = {
            "training cases": len(data.split("train")),
            "validation cases": len(data.split("val")),
            **{key: str(one) for key, one in chosen.items()},
            "would write": folder,
        }
        return show.as_json(content) if json else show.facts("Would search", content)

    with TrainingDisplay() as display:
        from medcli.quiet import import_tensorflow

        import_tensorflow()
        from medcli.search.study import search as work

        found = work(
            config, list(set_), chosen, folder,
            prepared_folder=prepared_folder, minutes=minutes, trial_minutes=trial_minutes, most=trials,
            resume=resume, force=force, on_event=display,
        )  # fmt: skip
    if json:
        return show.as_json(found.as_json())
    rows = [
        {"trial": f"{one.number} (as it is)" if one.number == 0 else str(one.number)}
        | {f"val_{found.monitor}": one.value}
        | one.settings
        for one in found.ranked[:5]
    ]
    show.table(f"The best of {len(found.trials)} trials", rows)
    show.facts(
        "Searched",
        {
            "time": show.duration(60 * found.minutes),
            "stopped early": sum(one.state == "stopped early" for one in found.trials),
            "failed": sum(one.state == "failed" for one in found.trials),
            "best config": found.folder / "best.yaml",
            "folder": found.folder,
        },
    )
    for note in found.notes:
        print(note)
    return None
