"""Out-of-fold predictions: every case by the networks of an ensemble that did not train on it."""

from medcli.evaluation.selection import select_cases
from medcli.prediction.predict import Summary, predict_cases
from medcli.progress import Progress, ignore
from medcli.run import Run

FOLDER = "out_of_fold"
"""Below RUN; the files of `medcli predict`."""


def predict_held_out(run: Run, *, progress: Progress = ignore) -> Summary:
    """Predict every case that some member did not train on, from the raw images, and keep it in the run folder.

    Segmentations are kept as label images, compressed, which take a few percent of the images' space; probabilities
    are not kept.

    Raises DataError when the images cannot be found or none can be predicted.
    """
    cases = select_cases(run, split="val").cases
    return predict_cases(run, cases, run.folder / FOLDER, held_out=True, force=True, progress=progress)
