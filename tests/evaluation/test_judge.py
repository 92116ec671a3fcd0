"""The pictures kept of a stream of cases, and the figures."""

import math

import numpy as np
import pytest

from medcli.evaluation.judge import Extremes, Judged
from medcli.evaluation.plots import box_figure, confusion_figure, froc_figure, roc_figure


def judged(quality, drawn):
    def draw():
        drawn.append(quality)
        return np.zeros((1, 1, 3), np.uint8)

    return Judged({}, quality, str(quality), draw)


def test_worst_and_best_are_kept_in_order():
    extremes, drawn = Extremes(2), []
    for quality in (5, 1, 4, math.nan, 2, 9, 5, 5):
        extremes.add(judged(quality, drawn), str(quality))
    assert [caption for _, caption in extremes.worst] == ["1", "2"]
    assert [caption for _, caption in extremes.best] == ["9", "5"]
    assert len(drawn) < 7, "cases in the middle are not drawn"


def test_no_case_is_shown_twice():
    extremes = Extremes(3)
    for quality in (1, 2, 3, 4):
        extremes.add(judged(quality, []), str(quality))
    assert [caption for _, caption in extremes.worst] == ["1", "2", "3"]
    assert [caption for _, caption in extremes.best] == ["4"]


def test_no_pictures_on_request():
    extremes, drawn = Extremes(0), []
    extremes.add(judged(1, drawn), "1")
    assert extremes.worst == extremes.best == drawn == []


def test_figures_draw_without_data(tmp_path):
    empty = np.array([np.nan])
    for figure in (
        roc_figure({}),
        froc_figure({"none": (np.zeros(1), np.zeros(1))}, (0.125, 8)),
        box_figure({"none": empty, "some": np.array([0.5, 0.7])}, "Dice", limits=(0, 1)),
        confusion_figure(np.zeros((2, 2), int), "ab", "ab"),
    ):
        figure.savefig(tmp_path / "figure.png")


def test_froc_shows_the_step_at_the_left_edge(tmp_path):
    figure = froc_figure({"a": (np.array([0, 0.01, 2.0]), np.array([0, 0.4, 0.8]))}, (0.125, 8))
    x, y = figure.axes[0].lines[0].get_data()
    # At 1/16 false alarms per image the sensitivity is that of the last point before: 0.4.
    assert (x[0], y[0]) == (0.0625, pytest.approx(0.4))
    assert (x[-1], y[-1]) == (16, pytest.approx(0.8))
