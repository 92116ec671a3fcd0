"""`medcli deidentify`: a place kept for it; the command comes with a release of its own."""

import typer

from medcli.cli.options import Debug


def deidentify(context: typer.Context, debug: Debug = False) -> None:
    """Remove identities (not available yet).

    \b
    Example, once it is there:
      medcli deidentify scans/ --out clean/
    """
    from medcli.errors import UsageError

    raise UsageError("deidentify is not available in this version; it comes with a release of its own.")
