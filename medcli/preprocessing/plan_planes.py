"""Whether a volume is seen by a 3D network, or by a 2D one that looks at a few neighbouring planes."""

from collections.abc import Sequence

import numpy as np

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.preprocessing.plan_geometry import ANISOTROPIC

NEIGHBOURS = 3
"""Planes that a 2D network sees, where `auto` chooses it."""


def decide_planes(
    config: Config,
    shapes: Sequence[tuple[int, ...]],
    spacing: Sequence[float] | None,
    reasons: dict[str, str],
) -> int | None:
    """How many planes of a volume a 2D network sees; None: a network with as many axes as the images.

    Between planes that lie far apart there is little to convolve; 2D networks are as good or better there (Baumgartner
    et al. 2018 on hearts in MR). Anisotropic is what Isensee et al. 2021 call so: a spacing more than 3 times the next
    one, and less than a third of the voxels.

    Args:
        shapes, spacing: Of the prepared images; planes first in volumes.

    Raises:
        ConfigError: A number of planes is set for pictures.
    """
    wanted = config.model.planes
    if len(shapes[0]) == 2:
        if isinstance(wanted, int):
            raise ConfigError("model.planes: expected volumes, got pictures; leave it out.")
        return None
    if wanted != "auto":
        reasons["planes"] = "set in the config"
        return None if wanted == "all" else wanted
    if not spacing:
        reasons["planes"] = "3D, as the spacing is unknown"
        return None
    count, *size = np.median(shapes, axis=0)
    ratio = spacing[0] / max(spacing[1:])
    flat = ratio > ANISOTROPIC and ANISOTROPIC * count < min(size)
    reasons["planes"] = (
        f"planes are {ratio:.2g} times as far apart as pixels, {count:g} of {size[0]:g} x {size[1]:g}: "
        + (f"2D on {NEIGHBOURS} neighbouring planes" if flat else "3D")
        + f" (2D when more than {ANISOTROPIC:g} times and fewer than a third as many)"
    )
    return NEIGHBOURS if flat else None
