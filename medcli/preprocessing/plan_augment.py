"""Which changes augmentation may make, from what kind of images these are."""

import re
from collections.abc import Sequence
from typing import Literal

from medcli.config.schema import Config
from medcli.preprocessing.scan import Scan

Axis = Literal["plane", "row", "column"]

RARE = 0.1
"""Objects are pasted where a class has less than this share of the objects that it would have if all had alike ..."""
FEW = 3.0
"""... or where a case has fewer objects than this on average."""
ISOTROPIC = 2.0
"""Volumes are turned out of their planes while the coarsest spacing is at most this times the finest ..."""
FEWEST_PLANES = 16
"""... and patches have so many planes."""
RADIOGRAPHS = {"CR", "DX", "IO", "MG", "PX", "RG"}
"""DICOM's words for projections by X-rays onto a plate or film."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
OTHER_SIDE = {"l": "r", "r": "l", "lt": "rt", "rt": "lt"}


def decide_augmentations(
    config: Config,
    scans: Sequence[Scan],
    spacing: Sequence[float] | None,
    patch: Sequence[int] | None,
    ct: bool,
    reasons: dict[str, str],
) -> list[str] | None:
    """Names as of `train.augmentations`; None for detection, see `decide_detection_augmentations`.

    Args:
        patch: Segmentation only.
        spacing: Of the prepared volumes in mm, where it is known.
        ct: Values are Hounsfield units.
    """
    if config.task == "detection":
        return None
    if config.train.augmentations != "auto":
        reasons["augmentations"] = "set in the config"
        return list(config.train.augmentations)
    if patch is None:
        return _whole_images(scans, ct, reasons)
    names = ["rotate", "scale", "elastic", "blur", "low_resolution", "noise", "brightness", "contrast"]
    why = []
    if ct:
        why.append("CT: no gamma, since Hounsfield units are calibrated")
    else:
        names += ["gamma", "inverted_gamma"]
    modalities = {scan.modality for scan in scans if scan.modality}
    if modalities == {"MR"}:
        names.append("bias_field")
        why.append("MR: bias field")
    else:
        why.append("no bias field, which is for images that say they are MR")
    if len(patch) == 3:
        ratio = max(spacing) / min(spacing) if spacing else None
        if ratio is not None and ratio <= ISOTROPIC and patch[0] >= FEWEST_PLANES:
            names.append("tilt")
            why.append(
                f"turned out of the planes, as spacings differ {ratio:.2g} times (at most {ISOTROPIC:g})"
            )
        else:
            what = (
                "spacing unknown"
                if ratio is None
                else f"spacings differ {ratio:.2g} times, {patch[0]} planes"
            )
            why.append(
                f"turned, blurred and coarsened within the planes only: {what} (expected at most {ISOTROPIC:g} "
                f"times and at least {FEWEST_PLANES} planes)"
            )
    reasons["augmentations"] = "; ".join(why)
    return names


def decide_mirrors(
    config: Config,
    scans: Sequence[Scan],
    names: Sequence[str],
    color: str,
    patch: Sequence[int] | None,
    reasons: dict[str, str],
) -> list[Axis]:
    """Axes that may be mirrored, as of `train.flips`.

    A network that also sees bodies upside down and back to front has to learn every organ in all these positions, and
    in minutes on a processor it does not; see docs/results.md for what that costs. Where a class is of one side, a
    mirrored image would be labelled wrongly.

    Args:
        names: Of the classes and labels.
        color: Of the prepared images.
        patch: Segmentation only.
    """
    if config.train.flips != "auto":
        reasons["mirrored"] = "set in the config"
        return list(config.train.flips)
    axes, why = _without_upright(config, scans, color, patch)
    side = one_sided(names)
    if side is not None:
        axes.remove("column")
        why += f"; but {side} is of one side, so not left to right"
    reasons["mirrored"] = why
    return axes


def _without_upright(
    config: Config, scans: Sequence[Scan], color: str, patch: Sequence[int] | None
) -> tuple[list[Axis], str]:
    """Axes along which the images have no fixed direction, and why."""
    every: list[Axis] = ["plane", "row", "column"]
    every = every[-len(scans[0].shape) :]
    if color == "rgb":
        return every, "colour pictures: no side is up"
    if len(every) == 3 and all(scan.affine is not None for scan in scans):
        return ["column"], "volumes of known orientation: left and right alone may change places"
    if {scan.modality for scan in scans} <= RADIOGRAPHS:
        return ["column"], "radiographs have an upper end: left and right alone may change places"
    if patch is None or config.task == "detection":
        return ["column"], "grey pictures may have an upper end: left and right alone may change places"
    return every, "patches of images whose orientation is not known"


def one_sided(names: Sequence[str]) -> str | None:
    """The first of these names that speaks of the left or the right; L and R count where both sides are there.

    Example:
        >>> one_sided(["liver", "kidney_right"]), one_sided(["KidneyL", "KidneyR"]), one_sided(["T1 R"])
        ('kidney_right', 'KidneyL', None)
    """
    split = {name: tuple(word.lower() for word in WORD.findall(name)) for name in names}
    for name, words in split.items():
        if {"left", "right"} & set(words):
            return name
        other = tuple(OTHER_SIDE.get(word, word) for word in words)
        if other != words and other in split.values():
            return name
    return None


def decide_detection_augmentations(
    config: Config, kinds: Sequence[Sequence[int]], classes: int, reasons: dict[str, str]
) -> list[str]:
    """Names as of `train.augmentations`.

    Args:
        kinds: The class of every object of each training case.
        classes: How many there are.
    """
    if config.train.augmentations != "auto":
        reasons["augmentations"] = "set in the config"
        return list(config.train.augmentations)
    names, why = ["mosaic", "scale", "brightness", "contrast"], []
    counts = [sum(list(case).count(kind) for case in kinds) for kind in range(classes)]
    rarest = min(counts, default=0) * classes / max(sum(counts), 1)
    mean = sum(counts) / max(len(kinds), 1)
    if 0 < rarest < RARE or 0 < mean < FEW:
        names.append("paste")
    why.append(
        f"objects are pasted where the rarest class has less than {RARE:.0%} of an even share (here {rarest:.0%}) or a "
        f"case has fewer than {FEW:g} objects (here {mean:.3g})"
    )
    if config.model.size in ("medium", "large"):
        names.append("mixup")
    why.append(f"mix-up for the sizes medium and large (here {config.model.size})")
    reasons["augmentations"] = "; ".join(why)
    return names


def _whole_images(scans: Sequence[Scan], ct: bool, reasons: dict[str, str]) -> list[str]:
    """For classification. How far pictures are turned, and how they are mirrored, follows from `train.flips`."""
    names, why = ["rotate", "scale", "shift", "noise", "brightness", "contrast"], []
    volumes = len(scans[0].shape) == 3
    if ct:
        why.append("CT: no gamma, since Hounsfield units are calibrated")
    else:
        names.append("gamma")
    if {scan.modality for scan in scans if scan.modality} == {"MR"}:
        names.append("bias_field")
        why.append("MR: bias field")
    if volumes:
        why.append("volumes: turned within their planes")
    else:
        names.append("erase")
        coloured = not all(scan.grey for scan in scans)
        why.append(
            "colour pictures (dermoscopy, microscopy): turned by any angle"
            if coloured
            else "grey pictures (radiographs, slices): turned a little"
        )
    reasons["augmentations"] = "; ".join(why)
    return names
