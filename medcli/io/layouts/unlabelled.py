"""Images without labels: all that lie in a folder or an `.npz`."""

from dataclasses import replace

from medcli.config.schema import Data
from medcli.io.found import Found, as_text, existing
from medcli.io.inputs import find_inputs

UNLABELLED = "unlabelled"
"""Stands for the class of every case, so that all that counts cases by class goes on."""


def find(data: Data, task: str) -> Found:
    """Cases in natural order; raises DataError when there are none."""
    name = as_text(data.images, "data.images")
    found = Found()
    found.classes = [UNLABELLED]
    place = existing(data.root, name, "data.images") if name else data.root
    found.cases = [replace(case, classes=(UNLABELLED,)) for case in find_inputs([place])]
    return found
