"""The one list of families, in the order of the columns."""

from medcli.features import color, corners, edges, first_order, gabor, glcm, glrlm, hog, lbp, shape
from medcli.features.feature import Family

FAMILIES: tuple[Family, ...] = (
    first_order.INTENSITY_FAMILY,
    first_order.HISTOGRAM_FAMILY,
    shape.SOLID_FAMILY,
    shape.FLAT_FAMILY,
    glcm.FAMILY,
    glrlm.FAMILY,
    lbp.FAMILY,
    gabor.FAMILY,
    color.FAMILY,
    hog.FAMILY,
    edges.FAMILY,
    corners.FAMILY,
)


def describe(families: tuple[Family, ...] = FAMILIES) -> list[dict[str, str]]:
    """A row per feature: family, name, unit, definition, IBSI code, source."""
    return [
        {
            "family": family.name,
            "name": feature.name,
            "unit": feature.unit,
            "definition": feature.definition,
            "ibsi": feature.ibsi,
            "source": family.source,
        }
        for family in families
        for feature in family.features
    ]
