"""The command line. This module stays light: help must not wait for TensorFlow or NumPy."""

import sys


def main() -> None:
    """Entry point of the `medcli` program."""
    from medcli.cli.app import app
    from medcli.cli.faults import run

    sys.exit(run(app))
