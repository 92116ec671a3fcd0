"""Every feature with an IBSI code gives the published value of the digital phantom, in all its digits."""

import pytest
from ibsi_phantom import AGGREGATED, BY_AGGREGATION, BY_CODE, OUT, PHANTOM

from medcli.config.schema import Features
from medcli.features.extract import extract
from medcli.features.region import region_of
from medcli.features.table import FAMILIES

CODES = {feature.name: feature.ibsi for family in FAMILIES for feature in family.features if feature.ibsi}


def measured(**settings):
    region = region_of(PHANTOM, PHANTOM != OUT, (2, 2, 2))
    settings = Features(
        discretise="fixed_width",
        bin_width=1.0,
        families=["intensity", "histogram", "shape", "glcm", "glrlm"],
        **settings,
    )
    found = extract(region, settings)
    return {code: found[name] for name, code in CODES.items()}


def agrees(value: float, published: float) -> bool:
    """To the three digits that are published; whole numbers of fewer digits exactly."""
    return f"{value:.3g}" == f"{published:.3g}" or abs(value - published) < 1e-9


@pytest.fixture(scope="module")
def merged():
    return measured()


def test_every_code_is_there_once():
    assert len(set(CODES.values())) == len(CODES) == len(BY_CODE) == 105
    assert set(CODES.values()) == set(BY_CODE)


@pytest.mark.parametrize("code", BY_CODE)
def test_published_values(merged, code):
    assert agrees(merged[code], BY_CODE[code]), f"{merged[code]} is not {BY_CODE[code]}"


@pytest.mark.parametrize("aggregation", BY_AGGREGATION)
def test_aggregations(aggregation):
    found = measured(aggregation=aggregation)
    published = BY_AGGREGATION[aggregation]
    assert [f"{found[code]:.3g}" for code in AGGREGATED] == [f"{value:.3g}" for value in published]
