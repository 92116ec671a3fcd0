"""`medcli report`: the result of an evaluation made again from its stored predictions."""

from typing import Annotated

import typer

from medcli.cli.options import Debug, Json, RunFolder, Set


def report(
    run: RunFolder,
    evaluation: Annotated[
        str | None,
        typer.Option(help="Which one below RUN/evaluate. [default: test, else val, else the only one]"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Write RUN/evaluate/NAME. [default: replace the evaluation]"),
    ] = None,
    set_: Set = [],  # noqa: B006  Typer copies it
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make report, plots, measures and model card of an evaluation again.

    Works from what `medcli evaluate` has stored; no network is run and no image is read. With --set it asks
    another question of the same predictions: another threshold, prevalence, coverage, size of groups.

    \b
    Examples:
      medcli report runs/bccd
      medcli report runs/chest --set evaluate.threshold='{sensitivity: 0.95}' --set evaluate.prevalence=0.02
      medcli report runs/chest --evaluation hospital_b --name hospital_b_strict --set evaluate.coverage=0.99
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.cli.evaluate import show_result
    from medcli.evaluation.build import report as work

    with progress_bars() as progress:
        result = work(run, evaluation=evaluation, overrides=set_, name=name, progress=progress)
    if json:
        return show.as_json(result)
    return show_result(result)
