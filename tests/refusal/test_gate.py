"""The input gate: what passes, and which code tells of what."""

import json

import numpy as np
import pytest

from medcli.image import Image
from medcli.preprocessing.plan import Intensity, Plan
from medcli.refusal.gate import Usual, look


def plan(dimensions=2, kind="fixed", color="grey", channels=1, **more):
    return Plan(
        task="classification", dimensions=dimensions, classes=["a", "b"], channels=channels, color=color,
        intensity=[Intensity(kind=kind)] * channels, batch_size=2, stages=2, **more,
    )  # fmt: skip


def chest(seed, shape=(64, 80)):
    """A bright middle on dark sides, never the same."""
    random = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    values = 40 + 150 * np.exp(-(x**2) * 4 - y**2 * random.uniform(0.5, 1.5)) + random.normal(0, 6, shape)
    return np.clip(values * random.uniform(0.9, 1.1), 0, 255).astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def usual():
    looks = [look(Image(chest(seed)), plan()) for seed in range(30)]
    return Usual.model_validate_json(Usual.of(looks, plan()).model_dump_json())


def codes(usual, image, of=None):
    return [code for code, _ in usual.faults(look(image, of or plan()))]


def test_images_like_those_of_training_pass(usual):
    assert [codes(usual, Image(chest(seed))) for seed in range(100, 140)] == [[]] * 40
    assert codes(usual, Image(chest(1).repeat(3, axis=-1))) == [], "grey, stored as RGB"


def test_each_fault_has_its_code(usual):
    image = chest(200)
    assert codes(usual, Image(np.full((64, 80, 1), 7, np.uint8))) == ["constant"]
    assert codes(usual, Image(np.full((64, 80, 1), np.nan, np.float32))) == ["constant"]
    assert codes(usual, Image(255 - image))[0] == "inverted"
    assert codes(usual, Image(image / np.float32(255))) == ["intensity"]
    assert codes(usual, Image(image.astype(np.float32) * 16)) == ["intensity"]
    assert codes(usual, Image(image.astype(np.float32) - 1000)) == ["intensity"]
    assert codes(usual, Image(np.concatenate([image, image // 2, image // 3], -1)))[0] == "color"
    assert codes(usual, Image(chest(3, (200, 250)))) == ["size"]
    assert codes(usual, Image(chest(3, (100, 130)))) == [], "twice the size may pass"


def test_noise_has_no_negative():
    """Nothing tells a texture from its negative, so that none is called inverted."""
    noise = [
        np.random.default_rng(seed).normal(100, 20, (9, 12, 1)).clip(0, 255).astype(np.uint8)
        for seed in range(200)
    ]
    of_few = Usual.of([look(Image(one), plan()) for one in noise[:12]], plan())
    assert not any("inverted" in codes(of_few, Image(one)) for one in noise[12:])


def test_the_sentence_has_the_numbers(usual):
    ((code, text),) = usual.faults(look(Image(chest(5) / np.float32(255)), plan()))
    assert code == "intensity" and text.startswith("Percentile 1 is 0.") and "in training" in text


def volume(seed, spacing=(5.0, 0.8, 0.8), modality="CT", shape=(12, 30, 30)):
    values = np.random.default_rng(seed).normal(0, 200, shape) - 300
    values[:, :5] = -1024
    return Image(values.astype(np.float32)[..., None], spacing=spacing, modality=modality)


def test_volumes_by_modality_spacing_and_extent():
    of = plan(3, "fixed", "as_is")
    usual = Usual.of([look(volume(seed), of) for seed in range(8)], of)
    assert codes(usual, volume(9), of) == []
    assert codes(usual, volume(9, modality=""), of) == [], "what is unknown is no fault"
    assert codes(usual, volume(9, modality="MR"), of) == ["modality"]
    assert codes(usual, volume(9, spacing=(5.0, 0.8, 1.3)), of) == ["spacing"]
    assert codes(usual, volume(9, spacing=None), of) == ["spacing"]
    assert codes(usual, volume(9, shape=(40, 30, 30)), of) == ["size"]
    scaled = volume(9)
    in_bytes = ((scaled.array + 1024) / 2000 * 255).clip(0, 255)
    assert "intensity" in codes(usual, scaled.with_array(in_bytes), of)


def test_units_do_not_matter_where_every_image_is_normalised_by_itself():
    of = plan(3, "zscore", "as_is")
    usual = Usual.of([look(volume(seed), of) for seed in range(8)], of)
    scaled = volume(9)
    assert codes(usual, scaled.with_array(scaled.array * 50 + 7), of) == []


def test_too_few_training_images_tell_nothing():
    assert Usual.of([look(Image(chest(seed)), plan()) for seed in range(4)], plan()) is None


def test_looking_costs_the_same_for_large_images():
    seen = look(Image(np.tile(chest(0), (40, 40, 1))), plan())
    assert seen.coarse.shape == (64,) and seen.extent == (2560.0, 3200.0)
    assert json.dumps(seen.levels.tolist())
