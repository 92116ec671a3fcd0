"""The commands, gathered. Each lives in the module of its name and imports what it needs when it runs."""

from typing import Annotated

import typer

from medcli import __version__
from medcli.cli import (
    audit,
    compare,
    config,
    deidentify,
    doctor,
    embed,
    ensemble,
    evaluate,
    explain,
    features,
    plan,
    predict,
    preprocess,
    pretrain,
    report,
    sample,
    search,
    train,
)

app = typer.Typer(
    name="medcli",
    rich_markup_mode=None,  # plain help is shown twice as fast
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medcli {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def medcli(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Medical images the whole way: prepare, train, evaluate, predict.

    \b
    A first try, with made-up images:
      medcli sample classification demo/data
      medcli preprocess demo/data/config.yaml
      medcli train demo/data/config.yaml
      medcli evaluate demo/data/runs/chest
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


app.command()(audit.audit)
app.command()(plan.plan)
app.command()(features.features)
app.command()(preprocess.preprocess)
app.command()(train.train)
app.command()(pretrain.pretrain)
app.command()(search.search)
app.command()(ensemble.ensemble)
app.command()(evaluate.evaluate)
app.command()(report.report)
app.command()(compare.compare)
app.command()(predict.predict)
app.command()(explain.explain)
app.command()(embed.embed)
app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(
    deidentify.deidentify
)
app.add_typer(config.app, name="config")
app.command()(sample.sample)
app.command()(doctor.doctor)
