"""From a run and inputs to a folder of predictions that tells of every case what became of it.

status.csv          case, ok or the reason, seconds
predict.json        which model and which settings made them
predictions.csv     classification, detection (boxes)     predictions.json  detection
CASE_anomaly.npy, .nii.gz  autoencoder: how unusual each place is, in the input's geometry
CASE.nii.gz, CASE.png  segmentation
objects.csv         segmentation of single objects, whose numbers the images then hold: a line per object
controlled.json     detection, when the run learned it: the boxes that together miss few objects
CASE_uncertainty, CASE_disagreement  segmentation, when asked for: entropy in bits, how far predictions differ
CASE_outer          segmentation, when asked for and learned: a mask that misses little
decisions.csv       when the run learned from its validation part: whether the case is answered, or referred and why
thresholds.csv      with thresholds of groups: whose threshold decided each case
overlays/CASE.png   when asked for
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from medcli import __version__
from medcli.calibration import Calibration
from medcli.case import Case
from medcli.config.schema import Predict
from medcli.errors import DataError, MedcliError, UsageError
from medcli.files import read_csv, sweep, write_csv, write_json
from medcli.image import Image
from medcli.instances.decode import USUAL
from medcli.instances.learn import rule_of
from medcli.io.writers import write_picture
from medcli.operating import UNLEARNED, Operating
from medcli.postprocessing.learned import Postprocessing
from medcli.prediction.inputs import cases_for, passed_over
from medcli.prediction.overlay import overlay
from medcli.prediction.predictor import Predictor
from medcli.prediction.result import Prediction
from medcli.prediction.writers import Writer, writer_for
from medcli.progress import Progress, ignore
from medcli.refusal.learned import FILE as REFUSAL
from medcli.refusal.learned import Refusal
from medcli.run import Run

STATUS, SETTINGS, OVERLAYS = "status.csv", "predict.json", "overlays"
OK = "ok"
OTHERWISE = (
    "When to refer a case was learned with other settings of predict (flips, overlap ...) or other weights, so no case "
    "is referred; `medcli evaluate RUN --force` with these settings learns it anew."
)
NOT_LEARNED = (
    "This run has not learned when to refer a case, so none is for that; `medcli evaluate` learns it."
)
NO_THRESHOLDS = (
    f"This run has not learned, with these settings, from which score on a box counts as found, so {UNLEARNED:g} is "
    "taken for every class; `medcli evaluate` learns it."
)
ENSEMBLE = "An ensemble does not learn when to refer a case, so none is for that; a single run does."
SAVE_SECONDS = 2.0
"""Results are brought to disk this often, or less often when that takes more than a twentieth of the time."""


@dataclass(frozen=True)
class Summary:
    """Attributes:
    folder: Where the files are.
    cases: All that were asked for.
    failed: Case and reason of those without a result.
    resumed: Cases that an earlier, interrupted work had done.
    seconds: The whole work, loading the model included.
    notes: What a reader of the results must know.
    """

    folder: Path
    cases: int
    failed: dict[str, str]
    resumed: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.cases - len(self.failed)


def predict(
    run: Run | Path,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    settings: Predict | None = None,
    force: bool = False,
    resume: bool = False,
    progress: Progress = ignore,
) -> Summary:
    """Predict every case of the inputs and write the files; one bad case does not stop the others.

    When some cases failed, that is told by the summary: the caller decides whether that is an error.

    Args:
        run: A run, or its folder.
        inputs: Files, folders, globs, tables, DICOM series, `.npz`.
        out: Folder to write; must be new or empty unless `force` or `resume` is given.
        settings: In place of the run's own `predict` section.
        force: Replace the predictions in `out`.
        resume: Keep the cases that `out` has already, if the same model and settings made them.
        progress: Called as progress("predict", done, total).

    Raises:
        UsageError: `out` is not empty, or was made otherwise than what is to be resumed.
        RunError: The run is unfinished, damaged or unsafe.
        DataError: Nothing was found to predict, or every case failed (status.csv has the reasons).
    """
    out = Path(out)
    run = run if isinstance(run, Run) else Run.open(run)
    cases = cases_for(run, inputs, out)
    notes = passed_over(run, inputs, cases, out)
    summary = predict_cases(run, cases, out, settings=settings, force=force, resume=resume, progress=progress)
    return replace(summary, notes=[*notes, *summary.notes])


def predict_cases(
    run: Run,
    cases: Sequence[Case],
    out: Path,
    *,
    settings: Predict | None = None,
    held_out: bool = False,
    force: bool = False,
    resume: bool = False,
    progress: Progress = ignore,
) -> Summary:
    """As `predict`, of cases that were found already.

    Args:
        held_out: Of an ensemble, for cases of its own data: each by the networks that did not train on it.
    """
    start = perf_counter()
    run.check_answers()
    settings = settings or run.config.predict
    run = replace(run, config=run.config.model_copy(update={"predict": settings}))
    calibration = Calibration.of(run)
    refusal, operating = Refusal.of(run), Operating.of(run)
    made_by = _made_by(run, settings, calibration, refusal, operating) | _after(run)
    _check_folder(out, made_by, force=force, resume=resume)
    if force or resume:
        sweep(out)
        sweep(out / OVERLAYS)
    only = settings.writes_found_only
    writer = writer_for(
        run.plan,
        out,
        cases,
        calibration,
        refusal,
        operating,
        found_only=only,
        members=max(1, len(run.members)),
    )
    ledger = Ledger(out, writer, [case.name for case in cases])
    resumed = ledger.take_over() if resume else set()
    waiting = [case for case in cases if case.name not in resumed]
    windows = np.zeros(2, int)
    if waiting:
        predictor = Predictor.load(run, settings=settings)
        predictor = predictor.held_out() if held_out else predictor
        if force:
            _clear(out, writer)
        progress("predict", len(resumed), len(cases))
        with _saving(ledger):
            write_json(out / SETTINGS, made_by)
            results = predictor.predict_cases(waiting)
            for done, (case, image, result) in enumerate(results, len(resumed) + 1):
                if isinstance(result, Prediction):
                    windows += np.array([result.windows, result.skipped])
                ledger.note(case, _write(case, image, result, writer, out, predictor))
                progress("predict", done, len(cases))
                del image, result  # not to be held while the next case is read
    failed = ledger.failed()
    if len(failed) == len(cases):
        name, reason = next(iter(failed.items()))
        raise DataError(
            f"Every case failed ({len(cases)} in all), see {out / STATUS}; the first, {name}: {reason}"
        )
    notes = [*getattr(writer, "notes", []), *_skipped(*windows.tolist())]
    if run.plan.task == "detection" and operating is None:
        notes.append(NO_THRESHOLDS)
    if refusal is None and (run.folder / REFUSAL).is_file():
        notes.append(OTHERWISE)
    return Summary(out, len(cases), failed, len(resumed), perf_counter() - start, notes)


def _skipped(windows: int, skipped: int) -> list[str]:
    if not skipped:
        return []
    return [
        f"{skipped} of {windows} windows hold nothing but air or padding and are background without the network "
        "(predict.skip_empty)."
    ]


@contextmanager
def _saving(ledger: "Ledger") -> Iterator[None]:
    """Save at the end, after an interruption too. A full disk ends the work: no case would fit any more."""
    try:
        try:
            yield
        except BaseException:
            with suppress(OSError):
                ledger.save()
            raise
        ledger.save()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{ledger.folder}: the results cannot be written ({reason}).") from error


def _write(
    case: Case,
    image: Image | None,
    result: Prediction | MedcliError,
    writer: Writer,
    out: Path,
    predictor: Predictor,
) -> tuple[str, float]:
    """Write one case; its status and seconds."""
    if isinstance(result, MedcliError):
        return str(result), 0.0
    assert image is not None
    try:
        writer.add(case, image, result)
        if predictor.settings.overlays:
            whose = predictor.operating, predictor.calibration, case.groups
            picture = overlay(image, result, predictor.run.plan, *whose)
            write_picture(out / OVERLAYS / f"{case.name}.png", picture)
    except MedcliError as error:
        return str(error), 0.0
    return OK, result.seconds


@dataclass
class Ledger:
    """What became of every case; saved now and then, results before their status."""

    folder: Path
    writer: Writer
    order: list[str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    saved: float = field(default_factory=monotonic)
    pause: float = SAVE_SECONDS

    def take_over(self) -> set[str]:
        """The cases that an earlier work finished; UsageError when some are not among those of now."""
        earlier = {row["case"]: row for row in _read_status(self.folder) if row["status"] == OK}
        others = sorted(earlier.keys() - set(self.order))
        if others:
            raise UsageError(
                f"{self.folder}: holds {len(others)} cases that are not among the inputs ({others[0]}, ...); "
                "resume with the same inputs, or choose another folder with --out."
            )
        kept = self.writer.keep(earlier.keys() & set(self.order))
        self.rows = {name: earlier[name] for name in self.order if name in kept}
        return kept

    def note(self, case: Case, outcome: tuple[str, float]) -> None:
        status, seconds = outcome
        self.rows[case.name] = {
            "case": case.name,
            "status": " ".join(status.split()),
            "seconds": f"{seconds:.3f}",
        }
        if monotonic() - self.saved > self.pause:
            self.save()

    def save(self) -> None:
        start = monotonic()
        self.writer.flush()
        rows = [self.rows[name] for name in self.order if name in self.rows]
        write_csv(self.folder / STATUS, rows, ["case", "status", "seconds"])
        self.saved = monotonic()
        self.pause = max(SAVE_SECONDS, 20 * (self.saved - start))

    def failed(self) -> dict[str, str]:
        return {name: row["status"] for name, row in self.rows.items() if row["status"] != OK}


def _read_status(folder: Path) -> list[dict[str, str]]:
    path = folder / STATUS
    rows = read_csv(path) if path.is_file() else []
    if rows and not {"case", "status", "seconds"} <= rows[0].keys():
        raise UsageError(
            f"{path}: expected the columns case, status, seconds; choose another folder with --out."
        )
    return rows


def _made_by(
    run: Run,
    settings: Predict,
    calibration: Calibration | None,
    refusal: Refusal | None,
    operating: Operating | None,
) -> dict[str, Any]:
    """What must be equal for two predictions to belong together."""
    chosen = settings.model_dump(mode="json", exclude={"batch_size", "overlays"})
    made_by = {"medcli": __version__, "run": run.folder.name, "model": run.weights_digest}
    kept: dict[str, Any] = {} if calibration is None else {"calibration": calibration.used}
    kept |= {"objects": asdict(rule_of(run.folder) or USUAL)} if run.plan.single_objects else {}
    kept |= {} if operating is None else {"found_from": operating.used}
    unknown = ENSEMBLE if run.members else NOT_LEARNED
    unknown = OTHERWISE if (run.folder / REFUSAL).is_file() else unknown
    return {**made_by, "predict": chosen, **kept, "refusal": unknown if refusal is None else refusal.used}


def _after(run: Run) -> dict[str, Any]:
    chosen = Postprocessing.of(run)
    return {} if chosen is None else {"postprocessing": chosen.used}


def _check_folder(out: Path, made_by: dict[str, Any], *, force: bool, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out}: expected a folder for the predictions, found a file; choose another with --out."
        )
    if force or not out.is_dir() or not any(out.iterdir()):
        return
    if not resume:
        raise UsageError(
            f"{out}: the folder is not empty; choose another with --out, continue with --resume, or replace "
            "the predictions in it with --force."
        )
    try:
        before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if before != made_by:
        raise UsageError(
            f"{out}: holds no predictions of this model with these settings, so they cannot be continued; "
            "choose another folder with --out, or replace them with --force."
        )


def _clear(out: Path, writer: Writer) -> None:
    """Remove earlier predictions, and nothing else that lies in the folder."""
    writer.remove({row["case"] for row in _read_status(out) if _is_name(row["case"])})
    rmtree(out / OVERLAYS, ignore_errors=True)
    for name in (STATUS, SETTINGS):
        (out / name).unlink(missing_ok=True)


def _is_name(text: str) -> bool:
    """A plain file name, so that nothing outside the folder can be meant."""
    return bool(text) and Path(text).name == text
