"""From a run and cases to a folder that shows how the network sees them beside one another.

embeddings.npz   cases (n,) text, vectors (n, features) float32, clusters (n,), map (n, 2)
cases.csv        a line per case: case, patient, part, label, cluster, x, y of the map, status
clusters.csv     a line per cluster: cases, patients, labels, the case in its middle
neighbours.csv   a line per case and neighbour of another patient, nearest first, with the cosine
suspects.csv     labels that the neighbours contradict, the most suspicious first; where labels are known
embed.json       which model, and the numbers
map.png  report.html
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from medcli import __version__
from medcli.case import Case
from medcli.embedding.collect import embed_cases
from medcli.embedding.examine import Found, Wanted, cluster_rows, examine, remarks, suspect_rows
from medcli.embedding.page import map_figure, write_page
from medcli.embedding.summary import Summary
from medcli.errors import DataError, UsageError
from medcli.files import atomic_path, write_csv, write_json
from medcli.prediction.predictor import Predictor
from medcli.progress import Progress, ignore
from medcli.run import Run

VECTORS, CASES, CLUSTERS, NEIGHBOURS, SUSPECTS, CONTENT, PAGE, MAP = (
    "embeddings.npz", "cases.csv", "clusters.csv", "neighbours.csv", "suspects.csv", "embed.json", "report.html",
    "map.png",
)  # fmt: skip
OK = "ok"
FEWEST = 3


def embed(
    run: Run | Path,
    cases: Sequence[Case],
    out: Path,
    *,
    wanted: Wanted = Wanted(),  # noqa: B008  it is frozen
    parts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    force: bool = False,
    predictor: Predictor | None = None,
    progress: Progress = ignore,
) -> Summary:
    """Embed every case and write the files; one bad case does not stop the others.

    Args:
        run: A run, or its folder; also one of `medcli pretrain`.
        cases: With classes where they are known.
        out: Folder to write; must be new or empty unless `force` is given.
        parts: Case to train, val or test, where known.
        notes: What a reader of the report must know.
        force: Replace the files of an earlier work in `out`.
        predictor: In place of the run's own model.

    Raises:
        UsageError: `out` is not empty.
        RunError: The run is unfinished, damaged or unsafe.
        DataError: Fewer than three cases can be read.
    """
    start, out = perf_counter(), Path(out)
    run = run if isinstance(run, Run) else Run.open(run)
    _check_folder(out, force=force)
    predictor = predictor or Predictor.load(run, policy="float32")
    embedded = embed_cases(predictor, cases, progress=progress)
    if len(embedded.cases) < FEWEST:
        reason = next(iter(embedded.failed.values()), "there are no more")
        raise DataError(
            f"expected at least {FEWEST} readable cases to compare, got {len(embedded.cases)} of {len(cases)} "
            f"({reason})"
        )
    found = examine(embedded, wanted, seed=run.config.seed)
    said = [*notes, *remarks(found)]
    summary = Summary(
        out,
        len(cases),
        embedded.failed,
        embedded.vectors.shape[1],
        [len(members) for members in found.clusters.nearest],
        found.clusters.silhouette,
        found.follows,
        None if found.doubts is None else found.doubts.auroc,
        None if found.doubts is None or found.doubts.suspects is None else len(suspect_rows(found)),
        said,
        perf_counter() - start,
    )
    _write(out, run, found, wanted, parts or {}, summary)
    return summary


# ---- the files


def _write(
    out: Path, run: Run, found: Found, wanted: Wanted, parts: Mapping[str, str], summary: Summary
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    cases = found.embedded.cases
    with atomic_path(out / VECTORS) as path, open(path, "wb") as stream:
        np.savez(
            stream,
            cases=np.array([case.name for case in cases], str),
            vectors=found.embedded.vectors,
            clusters=found.clusters.of_case,
            map=found.places,
        )
    rows = [
        {
            "case": case.name, "patient": case.patient, "part": parts.get(case.name, ""), "label": label,
            "cluster": int(cluster), "x": f"{x:.6g}", "y": f"{y:.6g}", "status": OK,
        }
        for case, label, cluster, (x, y) in zip(
            cases, found.labels, found.clusters.of_case, found.places, strict=True
        )
    ]  # fmt: skip
    rows += [
        {"case": name, "status": " ".join(reason.split())} for name, reason in found.embedded.failed.items()
    ]
    write_csv(out / CASES, rows, ["case", "patient", "part", "label", "cluster", "x", "y", "status"])
    write_csv(out / CLUSTERS, cluster_rows(found))
    write_csv(out / NEIGHBOURS, _neighbour_rows(found))
    (out / SUSPECTS).unlink(missing_ok=True)
    if summary.suspects is not None:
        columns = ["case", "patient", "label", "neighbours_say", "share", "margin"]
        write_csv(out / SUSPECTS, suspect_rows(found), columns)
    figure = map_figure(found)
    with atomic_path(out / MAP) as path:
        figure.savefig(path, format="png", dpi=150, bbox_inches="tight", facecolor="white")
    write_page(out / PAGE, run, found, summary, figure)
    content = {"medcli": __version__, "run": run.folder.name, "model": run.weights_digest} | {
        name: value for name, value in vars(summary).items() if name != "folder"
    }
    write_json(out / CONTENT, content | {"wanted": vars(wanted)})


def _neighbour_rows(found: Found) -> list[dict[str, Any]]:
    names = [case.name for case in found.embedded.cases]
    return [
        {
            "case": names[index], "rank": rank, "neighbour": names[other], "cosine": f"{cosine:.6g}",
            "label": found.labels[index], "neighbour_label": found.labels[other],
        }
        for index in range(len(names))
        for rank, (other, cosine) in enumerate(
            zip(found.neighbours[index], found.cosines[index], strict=True), 1
        )
        if other >= 0
    ]  # fmt: skip


def _check_folder(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out}: expected a folder for the embeddings, found a file; choose another with --out."
        )
    if not force and out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"{out}: the folder is not empty; choose another with --out, or replace the embeddings in it with --force."
        )
