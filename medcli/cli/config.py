"""`medcli config`: look at a config without running it."""

import typer

from medcli.cli.options import ConfigFile, Debug, Json, Set

app = typer.Typer(
    help="Show and check configs.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command()
def show(config: ConfigFile, set_: Set = [], json: Json = False, debug: Debug = False) -> None:  # noqa: B006
    """Print the resolved config: every setting, absolute paths, overrides applied.

    \b
    Example:
      medcli config show configs/bccd.yaml --set train.epochs=5
    """
    from medcli.cli.show import as_json
    from medcli.config.loading import load_config, to_yaml

    settings = load_config(config, set_)
    if json:
        as_json(settings.model_dump(mode="json"))
    else:
        print(to_yaml(settings), end="")


@app.command()
def check(config: ConfigFile, set_: Set = [], json: Json = False, debug: Debug = False) -> None:  # noqa: B006
    """Say whether a config is right; list every fault with its line and key. Data are not looked at.

    \b
    Example:
      medcli config check my.yaml
    """
    from medcli.cli.show import as_json
    from medcli.config.loading import load_config

    settings = load_config(config, set_)
    if json:
        as_json({"config": config, "task": settings.task, "valid": True})
    else:
        print(f"{config}: right ({settings.task})")


@app.command()
def schema(debug: Debug = False) -> None:
    """Print the JSON Schema of configs; editors complete and explain keys with it.

    \b
    Example:
      medcli config schema > medcli.schema.json
      # and as the first line of a config: # yaml-language-server: $schema=medcli.schema.json
    """
    from medcli.cli.show import as_json
    from medcli.config.reference import json_schema

    as_json(json_schema())


@app.command()
def reference(debug: Debug = False) -> None:
    """Print the reference of every setting as Markdown (docs/configuration.md).

    \b
    Example:
      medcli config reference > docs/configuration.md
    """
    from medcli.config.reference import markdown

    print(markdown(), end="")
