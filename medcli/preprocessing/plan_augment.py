"""Which changes augmentation may make, from what kind of images these are."""

from collections.abc import Sequence

from medcli.config.schema import Config
from medcli.preprocessing.scan import Scan

ISOTROPIC = 2.0
"""Volumes are turned out of their planes while the coarsest spacing is at most this times the finest ..."""
FEWEST_PLANES = 16
"""... and patches have so many planes."""


def decide_augmentations(
    config: Config,
    scans: Sequence[Scan],
    spacing: Sequence[float] | None,
    patch: Sequence[int] | None,
    ct: bool,
    reasons: dict[str, str],
) -> list[str] | None:
    """Names as of `train.augmentations`; None for tasks other than segmentation, which have sets of their own.

    Args:
        spacing: Of the prepared volumes in mm, where it is known.
        ct: Values are Hounsfield units.
    """
    if config.task != "segmentation" or patch is None:
        return None
    if config.train.augmentations != "auto":
        reasons["augmentations"] = "set in the config"
        return list(config.train.augmentations)
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
