"""From a run and cases to a folder of explanations that tells of every case what became of it.

status.csv               case, ok or the reason, seconds
explanations.json        which model and settings; per case its answers, per map files, checks and verdict
report.html              the verdicts of every method, and the pictures
overlays/CASE.png        image and maps side by side; CASE_2.png for the second answer
maps/CASE_METHOD.npy     the maps on the image's own grid (.nii.gz of volumes); CASE_2_METHOD for the second answer
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import Any

import numpy as np

from medcli import __version__
from medcli.case import Case
from medcli.config.schema import Explain
from medcli.errors import DataError, MedcliError, UsageError
from medcli.explain.explainer import explain_cases
from medcli.explain.page import MOST_SHOWN, failures, write_page
from medcli.explain.picture import picture
from medcli.explain.result import Explained
from medcli.explain.summary import Kept, by_method
from medcli.explain.verdict import RULE
from medcli.files import sha256, write_csv, write_json
from medcli.io.writers import write_map, write_picture
from medcli.prediction.predictor import Predictor
from medcli.preprocessing.plan import Plan
from medcli.progress import Progress, ignore
from medcli.run import Run

STATUS, CONTENT, PAGE, OVERLAYS, MAPS = (
    "status.csv",
    "explanations.json",
    "report.html",
    "overlays",
    "maps",
)
OK = "ok"


@dataclass(frozen=True)
class Summary:
    """Attributes:
    folder: Where the files are.
    cases: All that were asked for.
    failed: Case and reason of those without an explanation.
    methods: See `by_method`.
    unbelievable: A sentence for every map that failed its check.
    seconds: The whole work, loading the model included.
    """

    folder: Path
    cases: int
    failed: dict[str, str]
    methods: list[dict[str, Any]]
    unbelievable: list[str]
    seconds: float


def explain(
    run: Run | Path,
    cases: Sequence[Case],
    out: Path,
    *,
    settings: Explain | None = None,
    label: str | None = None,
    plan: Plan | None = None,
    notes: Sequence[str] = (),
    force: bool = False,
    predictor: Predictor | None = None,
    progress: Progress = ignore,
) -> Summary:
    """Explain every case and write the files; one bad case does not stop the others.

    Args:
        run: A run, or its folder.
        cases: With boxes or masks they also get the pointing game.
        out: Folder to write; must be new or empty unless `force` is given.
        settings: In place of the run's own `explain` section.
        label: Class to explain; None: what the network answers.
        plan: Tells what the values in the masks mean; None: the run's.
        notes: What a reader of the report must know.
        force: Replace the explanations in `out`.
        predictor: In place of the run's own model.

    Raises:
        UsageError: `out` is not empty; no such class or layer.
        RunError: The run is unfinished, damaged or unsafe.
        DataError: Every case failed (status.csv has the reasons).
    """
    start, out = perf_counter(), Path(out)
    run = run if isinstance(run, Run) else Run.open(run)
    run.check_answers()
    settings = settings or run.config.explain
    _check_folder(out, force=force)
    predictor = predictor or Predictor.load(run, policy="float32")
    ledger = _Ledger(out, run, predictor.run.plan)
    outcomes = explain_cases(predictor, cases, settings=settings, label=label, plan=plan, progress=progress)
    try:
        for number, (case, outcome) in enumerate(outcomes):
            if number == 0 and force:
                _clear(out)
            ledger.note(case, outcome)
    finally:  # what there is when somebody interrupts, too
        if ledger.rows:
            ledger.save(settings, notes)
    if len(ledger.failed) == len(cases):
        name, reason = next(iter(ledger.failed.items()))
        raise DataError(
            f"Every case failed ({len(cases)} in all), see {out / STATUS}; the first, {name}: {reason}"
        )
    return Summary(
        out,
        len(cases),
        ledger.failed,
        by_method(ledger.kept),
        failures(ledger.kept),
        perf_counter() - start,
    )


@dataclass
class _Ledger:
    """What became of every case."""

    out: Path
    run: Run
    plan: Plan
    rows: list[dict[str, str]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)
    content: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[np.ndarray, str]] = field(default_factory=list)

    def note(self, case: Case, outcome: Explained | MedcliError) -> None:
        seconds = 0.0
        try:
            if isinstance(outcome, MedcliError):
                raise outcome
            self._write(outcome)
            seconds = outcome.seconds
            status = OK
        except MedcliError as error:
            status = " ".join(str(error).split())
            self.failed[case.name] = status
        self.rows.append({"case": case.name, "status": status, "seconds": f"{seconds:.3f}"})

    def save(self, settings: Explain, notes: Sequence[str]) -> None:
        """The files about all cases together."""
        write_csv(self.out / STATUS, self.rows, ["case", "status", "seconds"])
        if not self.kept:
            return
        content = {
            "medcli": __version__,
            "run": self.run.folder.name,
            "model": sha256(self.run.model_path),
            "explain": settings.model_dump(mode="json"),
            "rule": RULE,
            "methods": by_method(self.kept),
            "cases": self.content,
        }
        write_json(self.out / CONTENT, content)
        write_page(self.out / PAGE, self.run, self.kept, self.pictures, self.failed, notes)

    def _write(self, found: Explained) -> None:
        answers = []
        for answer in found.answers:
            name = found.case.name if answer.number == 0 else f"{found.case.name}_{answer.number + 1}"
            drawn = picture(found, answer, self.plan)
            overlay = write_picture(self.out / OVERLAYS / f"{name}.png", drawn)
            maps = []
            for explanation in found.of(answer):
                path = write_map(
                    self.out / MAPS / f"{name}_{explanation.method}", explanation.heat, found.image
                )
                maps.append({"file": self._relative(path)} | explanation.as_json())
                self.kept.append(Kept.of(found, explanation))
            answers.append(
                {
                    "class": answer.label,
                    **({"said": answer.said} if answer.said else {}),
                    "probability": answer.probability,
                    "box": answer.box,
                    "voxels": None if answer.region is None else int(answer.region.sum()),
                    "share_explained": answer.share,
                    "layer": answer.layer,
                    "baseline": answer.baseline,
                    "overlay": self._relative(overlay),
                    "maps": maps,
                }
            )
            if len(self.pictures) < MOST_SHOWN:
                sentences = "; ".join(one.sentence for one in found.of(answer))
                self.pictures.append((drawn, f"{name}. {sentences}"))
        self.content.append({"case": found.case.name, "answers": answers})

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()


def _check_folder(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out}: expected a folder for the explanations, found a file; choose another with --out."
        )
    if not force and out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"{out}: the folder is not empty; choose another with --out, or replace the explanations in it "
            "with --force."
        )


def _clear(out: Path) -> None:
    """Remove earlier explanations, and nothing else that lies in the folder."""
    if not (out / STATUS).is_file():
        return
    for name in (OVERLAYS, MAPS):
        rmtree(out / name, ignore_errors=True)
    for name in (STATUS, CONTENT, PAGE):
        (out / name).unlink(missing_ok=True)
