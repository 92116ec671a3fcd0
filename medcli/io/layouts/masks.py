"""Masks as files beside images: both are found by patterns with `{case}`."""

from pathlib import Path

from medcli.case import Case, Source
from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError
from medcli.io.case_paths import check_pattern, find_all
from medcli.io.found import Found, class_order, listing, shown
from medcli.io.names import natural, safe_name

FOREGROUND = "foreground"
"""Name of the only class of binary and instance masks when none is declared."""


def find(data: Data, task: str) -> Found:
    """Cases in natural order. With several channels the first one's files say which cases there are.

    Detection takes all mask files of a case (a pattern with `*`: one file per object), segmentation the first.
    """
    everything = _matches(data.labels, "data.labels", data.root)
    labels = _firsts(everything)
    taken = {path for matches in everything.values() for paths in matches.values() for path in paths}
    images = {
        channel: {case: path for case, path in matches.items() if path not in taken}
        for channel, matches in _firsts(_matches(data.images, "data.images", data.root)).items()
    }
    found = Found()
    found.classes, found.label_ids = segmentation_classes(data)
    if len(labels) > 1:
        labels = {name: labels[name] for name in found.classes or labels}
    first = next(iter(images.values()))
    if not first:
        wanted = listing(_patterns(data.images).values())
        raise DataError(f"{data.root}: no images match {wanted}; check data.images and data.root.")
    _report_orphans(found, images, labels, data.root)
    for case, path in first.items():
        missing = [name for name, matches in images.items() if case not in matches]
        unlabelled = [name for name, matches in labels.items() if case not in matches]
        if missing:
            found.leave_out(case, shown(path, data.root), f"the channel {listing(missing)} is missing.")
        elif unlabelled and len(unlabelled) == len(labels):
            found.leave_out(
                case, shown(path, data.root), f"its mask is missing; expected {_expected(data, case)}."
            )
        elif unlabelled and task != "detection":
            found.leave_out(case, shown(path, data.root), f"the mask of {listing(unlabelled)} is missing.")
        else:
            found.cases.append(
                Case(
                    name=safe_name(case),
                    images=tuple(Source(matches[case]) for matches in images.values()),
                    **(
                        _objects(everything, case)
                        if task == "detection"
                        else _masks(data, {name: everything[name] for name in labels}, case)
                    ),
                )
            )
    return found


def _masks(data: Data, labels: dict[str, dict[str, list[Path]]], case: str) -> dict:
    """One file per class; of instances of one class all files, since each object may have its own."""
    files = [matches[case] for matches in labels.values()]
    most = None if data.labels_are == "instances" and len(files) == 1 else 1
    return {"masks": tuple(Source(path) for paths in files for path in paths[:most])}


def _objects(labels: dict[str, dict[str, list[Path]]], case: str) -> dict:
    """All files, and of each the class where the setting says it."""
    files = [(name, path) for name, matches in labels.items() for path in matches.get(case, [])]
    named = tuple(name for name, _ in files) if any(labels) else ()
    return {"masks": tuple(Source(path) for _, path in files), "classes": named}


def segmentation_classes(data: Data) -> tuple[list[str] | None, dict[str, list[int]] | None]:
    """Class names and the ids that mean each, as far as the config says; (None, None) leaves it to the masks.

    With one binary file per class, mask i has the id i + 1, as `read_mask` numbers them. No ids at all: every
    value above zero is the one class.
    """
    if isinstance(data.classes, dict):
        ids = {
            name: [value] if isinstance(value, int) else list(value) for name, value in data.classes.items()
        }
        return list(ids), ids
    if isinstance(data.labels, dict):
        names = class_order(data.labels, data.classes)
        if set(names) != set(data.labels):
            raise ConfigError(
                f"data.classes: expected those of data.labels ({listing(data.labels)}), got {listing(names)}."
            )
        return names, {name: [number] for number, name in enumerate(names, start=1)} if len(names) > 1 else {}
    if data.labels_are in ("binary", "instances"):
        names = list(data.classes or [FOREGROUND])
        if len(names) != 1:
            raise ConfigError(
                f"data.classes: masks that are {data.labels_are} hold one class, got {len(names)} names."
            )
        return names, {}
    if data.classes:
        return list(data.classes), {name: [number] for number, name in enumerate(data.classes, start=1)}
    return None, None


def _patterns(setting: str | dict[str, str] | None) -> dict[str, str]:
    return dict(setting) if isinstance(setting, dict) else {"": setting or ""}


def _matches(setting: str | dict[str, str] | None, key: str, root: Path) -> dict[str, dict[str, list[Path]]]:
    """Channel or class ("" when there is but one) to case to paths."""
    patterns = _patterns(setting)
    for name, pattern in patterns.items():
        check_pattern(pattern, f"{key}.{name}" if name else key)
    return {name: find_all(pattern, root) for name, pattern in patterns.items()}


def _firsts(matches: dict[str, dict[str, list[Path]]]) -> dict[str, dict[str, Path]]:
    """The first path of every case."""
    return {name: {case: paths[0] for case, paths in found.items()} for name, found in matches.items()}


def _report_orphans(found: Found, images: dict, labels: dict, root: Path) -> None:
    """Masks without an image."""
    first = next(iter(images.values()))
    orphans = {
        case: path for matches in labels.values() for case, path in matches.items() if case not in first
    }
    for case in sorted(orphans, key=natural):
        found.leave_out(case, shown(orphans[case], root), "there is no image for this mask.")


def _expected(data: Data, case: str) -> str:
    return listing(pattern.replace("{case}", case) for pattern in _patterns(data.labels).values())
