import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcli.cli import show
from medcli.cli.display import epoch_line, progress_bars, start_line, step_line
from medcli.progress import ignore


def test_json_holds_plain_values_only(capsys):
    @dataclass
    class Found:
        folder: Path
        dice: np.float32
        hd95: float

    show.as_json(Found(Path("run"), np.float32(0.5), float("nan")))
    assert json.loads(capsys.readouterr().out) == {"folder": "run", "dice": 0.5, "hd95": None}


def test_tables_show_every_value_whole(capsys):
    show.table(
        "Measures", [{"measure": "dice/[bold]", "value": 0.123456}, {"measure": "n", "extra": ["a", "b"]}]
    )
    out = capsys.readouterr().out
    assert "dice/[bold]" in out and "0.1235" in out and "a, b" in out


def test_values_read_well():
    assert show.text(None) == ""
    assert show.text(True) == "yes"
    assert show.text({"a": 1, "b": [0.5, 2]}) == "a 1, b 0.5, 2"
    assert [show.duration(s) for s in (0.4, 59, 185, 7800)] == ["0 s", "59 s", "3 min 05 s", "2 h 10 min"]


def test_training_events_become_lines():
    start = {"parameters": 1234567, "epochs": 30, "steps_per_epoch": 10, "batch_size": 8}
    assert start_line(start) == "1,234,567 parameters, 30 epochs of 10 steps with 8 samples"
    step = {"epoch": 2, "epochs": 30, "loss": 0.51234, "samples_per_second": 123.4, "seconds_left": 61.0}
    assert step_line(step) == "epoch 2/30  loss 0.5123  123 samples/s  1 min 01 s left"
    epoch = {
        "event": "epoch",
        "epoch": 2,
        "epochs": 30,
        "validated": True,
        "loss": 0.5,
        "dice": 0.75,
        "seconds": 3.0,
    }
    assert epoch_line(epoch) == "epoch    2  loss 0.5000  dice 0.7500"


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys):
    with progress_bars() as progress:
        progress("scan", 1, 2)
    assert progress is ignore
    assert capsys.readouterr().err == ""
