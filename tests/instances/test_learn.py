"""The rule that is chosen on the validation part, and how it is kept."""

import json

import numpy as np

from medcli.files import sha256
from medcli.instances.compare import compare
from medcli.instances.decode import USUAL, Rule, decode
from medcli.instances.learn import FILE, choose, rule_of
from medcli.preprocessing.instances import packed
from tests.instances.shapes import discs, maps_of


def cases():
    """Touching discs whose valley is shallow, with specks: joined and littered by the usual rule."""
    for shift in range(3):
        ids = discs((50, 70), [(20, 15 + shift), (20, 29 + shift), (35, 55)], 8)
        maps = maps_of(ids)
        maps[..., -1] = np.where(ids > 0, 0.8 + 0.2 * maps[..., -1], 0)
        maps[3:5, 5:60:9, :2] = 0, 1
        yield maps, packed((ids > 0).astype(np.uint8), ids)


def test_the_best_rule_is_chosen():
    chosen = choose(cases(), 1)
    assert chosen.measures["ap50"] == chosen.measures["ap50_90"] == 1
    assert chosen.measures["usual_ap50"] < 0.5
    assert (chosen.rule.contrast, chosen.cases) == (0.1, 3)
    assert chosen.rule.smallest > 4


def test_without_objects_the_usual_rule_stays():
    empty = np.zeros((6, 6, 3), np.float32)
    empty[..., 0] = 1
    assert choose([(empty, np.zeros((6, 6), np.int32))], 1).rule == USUAL
    assert choose([], 1).rule == USUAL


def test_a_rule_belongs_to_its_weights(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"weights")
    assert rule_of(tmp_path) is None
    content = {"model_sha256": sha256(tmp_path / "model.keras"), "rule": vars(Rule(0.4, 0.3, 7))}
    (tmp_path / FILE).write_text(json.dumps(content))
    assert rule_of(tmp_path) == Rule(0.4, 0.3, 7)
    (tmp_path / "model.keras").write_bytes(b"others")
    assert rule_of(tmp_path) is None
    (tmp_path / FILE).write_text("{")
    assert rule_of(tmp_path) is None


def test_what_is_ignored_does_not_count():
    ids = discs((30, 50), [(15, 12), (15, 38)], 8)
    label = packed((ids > 0).astype(np.uint8), ids)
    label[:, 25:] = 255
    one = compare(label, decode(maps_of(ids), Rule()), 1)[0]
    assert (one.truths, one.ious.tolist()) == (1, [1.0])
