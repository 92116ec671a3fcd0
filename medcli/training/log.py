"""What is written while a network trains: history.csv, curves.png and logs for TensorBoard."""

from pathlib import Path
from typing import Any

from medcli.files import atomic_path, write_csv

Rows = list[dict[str, Any]]


class History:
    """One row per epoch: epoch, loss, learning rate, seconds, and validation measures where there was one."""

    def __init__(self, folder: Path, *, tensorboard: bool):
        self.folder = folder
        self.rows: Rows = []
        self._tensorboard = tensorboard
        self._writer: Any = None

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if self._tensorboard:
            self._log(row)

    def write(self) -> None:
        write_csv(self.folder / "history.csv", self.rows)
        if self._writer is not None:
            self._writer.flush()

    def _log(self, row: dict[str, Any]) -> None:
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.folder / "logs"))
        with self._writer.as_default(step=int(row["epoch"])):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, float(value))


def write_curves(rows: Rows, monitor: str, path: Path) -> None:
    """Loss of training and validation, and the measure that chooses the weights, over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)

    def draw(axes, name, label, colour, marker=None):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker, markersize=3)

    draw(left, "loss", "training", "#0072B2")
    draw(left, "val_loss", "validation", "#D55E00", "o")
    draw(right, f"val_{monitor}", "validation", "#D55E00", "o")
    left.set(title="Loss", xlabel="epoch")
    right.set(title=monitor, xlabel="epoch")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
