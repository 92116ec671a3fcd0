"""`medcli plan`: what `auto` becomes for these data, and why."""

from typing import Annotated, Any

import typer

from medcli.cli.options import ConfigFile, Debug, Json, Set


def plan(
    config: ConfigFile,
    set_: Set = [],  # noqa: B006  Typer copies it
    yaml: Annotated[bool, typer.Option("--yaml", help="Print plan.yaml instead of a table.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Look at the data and print every decision with its rule and the numbers behind it.

    Nothing is prepared yet; `medcli preprocess` goes on from here. Any decision can be overruled in the
    config, or in plan.yaml of the prepared folder before training.

    \b
    Example:
      medcli plan configs/msd_hippocampus.yaml --set data.root=~/data/hippocampus
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.config.loading import load_config
    from medcli.preprocessing.build import plan_only
    from medcli.preprocessing.plan import plan_yaml

    settings = load_config(config, set_)
    assert settings.prepared is not None  # filled in by load_config
    with progress_bars() as progress:
        decided = plan_only(settings, settings.prepared, progress=progress)
    if json:
        show.as_json(decided.model_dump(mode="json"))
    elif yaml:
        print(plan_yaml(decided), end="")
    else:
        content = decided.model_dump(mode="json", exclude={"reasons", "task", "dimensions"})
        told = ("split", *(name for name in content if name in decided.reasons))
        rows = [
            {"decision": name, "value": _shown(content.get(name)), "because": decided.reasons.get(name, "")}
            for name in told
        ]
        show.table(f"Plan: {decided.task}, {decided.dimensions}D", rows)


def _shown(value: Any) -> Any:
    """Sizes as 40 x 56 x 40, one normalisation for all channels once, nothing where nothing is set."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, float):
        return f"{value:,.6g}"
    if not isinstance(value, list) or not value:
        return value
    if all(isinstance(item, int | float) for item in value):
        return " x ".join(f"{item:g}" for item in value)
    if isinstance(value[0], dict):
        told = [", ".join(f"{key} {item}" for key, item in one.items() if item is not None) for one in value]
        return "; ".join(dict.fromkeys(told))
    return ", ".join(str(_shown(item)) for item in value)
