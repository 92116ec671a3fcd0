"""`medcli preprocess`: from the cases of a config to a finished prepared folder."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medcli.case import Case, Problem
from medcli.config.schema import Config
from medcli.errors import DataError, MedcliError, RunError
from medcli.files import write_csv, write_json
from medcli.io.cases import Discovery, discover
from medcli.parallel import WorkerDied, default_workers, run
from medcli.preprocessing import splits
from medcli.preprocessing.cases import Done, Job, already_there, case_key, measure_cases, prepare_cases
from medcli.preprocessing.checks import (
    Seen,
    check,
    check_ids,
    duplicate_problems,
    same_groups,
)
from medcli.preprocessing.fingerprint import fingerprint, merged
from medcli.preprocessing.labels import LabelRule, label_rule
from medcli.preprocessing.plan import Plan, load_plan, save_plan
from medcli.preprocessing.planning import Evidence, make_plan
from medcli.preprocessing.prepared import MANIFEST, Record, read_manifest, write_manifest
from medcli.preprocessing.scan import Scan, Signatures, append_scans, load_scans, scan_cases
from medcli.progress import Progress, ignore

SCANS = "scans.jsonl"
WORKER_MODULES = ("medcli.preprocessing.cases", "medcli.io.readers", "medcli.io.masks")
WORKER_BYTES = 200e6
"""What a worker takes before it has read anything."""
COPIES = 6
"""Copies of an image, as float32, that preparing it holds at once."""
LARGEST_CHUNK = 200
"""Most cases that a worker takes at a time."""


@dataclass(frozen=True)
class Summary:
    """What `preprocess` did.

    Attributes:
        cases, left_out: Numbers of cases prepared and left out.
        problems: Everything in problems.csv.
        reused: Cases whose arrays were already there.
        seconds: Wall time.
        folder: The prepared folder.
        splits: Cases per split.
    """

    cases: int
    left_out: int
    problems: list[Problem]
    reused: int
    seconds: float
    folder: Path
    splits: dict[str, int]


def preprocess(config: Config, out: Path, *, force: bool = False, progress: Progress = ignore) -> Summary:
    """Find, check, split and prepare the cases of a config; what an earlier run left there is used again.

    Args:
        config: The job.
        out: The prepared folder; made if missing.
        force: Forget what is there and do everything anew.
        progress: Hears of the stages "scan", "measure", "prepare" and "report".

    Raises:
        DataError: No usable case, one class only, a patient in two splits, too few patients.
        RunError: `out` holds something else, or another run is at work there.
        MedcliError: The disk is full or cannot be written.
    """
    began = time.monotonic()
    out = Path(out)
    try:
        with _owned(out):
            if force:
                _clear(out)
            summary = _preprocess(config, out, progress)
    except OSError as error:
        raise _disk_fault(error, out) from error
    return replace(summary, seconds=time.monotonic() - began)


def _preprocess(config: Config, out: Path, progress: Progress) -> Summary:
    found = discover(config)
    root = config.data.root
    (out / "cases").mkdir(parents=True, exist_ok=True)
    seen = _scanned(found.cases, config, out, progress)
    checked = check(seen, config.task, root, multi_label=found.multi_label)
    problems = [*found.problems, *checked.problems]
    if not checked.seen:
        raise DataError(_nothing_left(problems))
    rule = _label_rule(config, found, checked.seen)
    problems += check_ids(checked.seen, rule.label_ids, root) if config.task == "segmentation" else []

    assignment = splits.assign(_members(checked.seen, config.task, rule), config.data.split, config.seed)
    problems += duplicate_problems(checked.seen, assignment.split, root)
    problems += _class_gaps(checked.seen, assignment.split, config, rule)
    training = [entry for entry in checked.seen if assignment.split[entry.case.name] == "train"]
    if not training:
        raise DataError("No case is left for training; check the split and problems.csv.")
    known = [entry for entry in checked.seen if assignment.split[entry.case.name] != "test"]
    numbers = fingerprint([e.case for e in known], [e.scan for e in known], rule.classes)
    evidence = Evidence([e.scan for e in known], [e.scan for e in training])
    plan = make_plan(config, evidence, rule, multi_label=found.multi_label, stacked=_stacked(config))
    plan = plan.model_copy(update={"reasons": {"split": assignment.reason, **plan.reasons}})
    plan = _measured(plan, training, config, out, progress)

    keys = [case_key(entry.case, entry.scan, plan) for entry in checked.seen]
    earlier = _earlier(out)
    done, reused = _prepared(checked.seen, keys, plan, earlier, config, out, progress)
    records = []
    for entry, key, result in zip(checked.seen, keys, done, strict=True):
        if result.fault:
            problems.append(_failed(entry, result.fault, root))
            continue
        if entry.scan.labels and not result.objects and any(value > 0 for value in entry.scan.labels):
            problems.append(_failed(entry, "its labels vanish when prepared.", root, left_out=False))
        records.append(_record(entry, key, result, plan, assignment, root))
    if not any(record.split == "train" for record in records):
        raise DataError(_nothing_left(problems))
    _finish(out, config, plan, numbers, records, problems, earlier, progress)
    counts = {part: sum(record.split == part for record in records) for part in splits.PARTS}
    left_out = sum(problem.left_out for problem in problems)
    return Summary(len(records), left_out, problems, reused, 0.0, out, counts)


# ---- the steps


def _scanned(cases: Sequence[Case], config: Config, out: Path, progress: Progress) -> list[Seen]:
    """Every case with its scan, from memory where its files have not changed."""
    signatures = Signatures()
    marks = [signatures.of(case) for case in cases]
    known = load_scans(out / SCANS)
    missing = [index for index, mark in enumerate(marks) if mark not in known]
    costs = [_bytes_in_memory(cases[index], signatures) for index in missing]
    done = len(cases) - len(missing)
    progress("scan", done, len(cases))
    jobs, members = [], []
    for chunk in _chunks(len(missing), costs, _workers(config)):
        members.append([missing[position] for position in chunk])
        jobs.append(([cases[i] for i in members[-1]], [marks[i] for i in members[-1]]))
    for number, result in _run(scan_cases, jobs, members, dict(zip(missing, costs, strict=True)), config):
        indices = members[number]
        scans = (
            result
            if isinstance(result, list)
            else [Scan(marks[i], fault=_died(cases[i], result)) for i in indices]
        )
        known |= {scan.signature: scan for scan in scans}
        append_scans(out / SCANS, [scan for scan in scans if not scan.fault])
        done += len(indices)
        progress("scan", done, len(cases))
    return [Seen(case, known[mark]) for case, mark in zip(cases, marks, strict=True)]


def _measured(plan: Plan, training: Sequence[Seen], config: Config, out: Path, progress: Progress) -> Plan:
    """One mean and std after window and contrast, where the scans cannot tell them."""
    enhanced = plan.contrast != "none" or config.preprocess.window is not None
    fixed = any(rule.kind == "fixed" for rule in plan.intensity)
    if not (enhanced and fixed) or (config.preprocess.mean is not None and config.preprocess.std is not None):
        return plan
    costs = [_prepared_bytes(entry.scan) for entry in training]
    members = _chunks(len(training), costs, _workers(config))
    jobs = [Job([training[i].case for i in chunk], [], plan, out) for chunk in members]
    values, done = [], 0
    for number, result in _run(measure_cases, jobs, members, dict(enumerate(costs)), config):
        values += (
            [] if isinstance(result, WorkerDied) else [(number, row) for row in result if row is not None]
        )
        done += len(members[number])
        progress("measure", done, len(training))
    values.sort(key=lambda entry: entry[0])  # the order in which workers finish must not show
    rules = []
    for channel, rule in enumerate(plan.intensity):
        summary = merged([row[channel] for _, row in values])
        if summary is not None:
            mean = rule.mean if config.preprocess.mean is not None else float(f"{summary.mean:.7g}")
            std = rule.std if config.preprocess.std is not None else float(f"{summary.std or 1.0:.7g}")
            rule = rule.model_copy(update={"mean": mean, "std": std})
        rules.append(rule)
    reasons = plan.reasons | {"intensity": plan.reasons["intensity"] + "; measured after window and contrast"}
    return plan.model_copy(update={"intensity": rules, "reasons": reasons})


def _prepared(
    seen: Sequence[Seen],
    keys: Sequence[str],
    plan: Plan,
    earlier: dict[str, Record],
    config: Config,
    out: Path,
    progress: Progress,
) -> tuple[list[Done], int]:
    """Write what is missing; give what is known of every case, and how many needed no work."""
    done: dict[int, Done] = {}
    names = {name: index for index, name in enumerate(plan.classes)}
    for index, key in enumerate(keys):
        before = earlier.get(key)
        there = (
            already_there(key, plan, out) if before is None or not _intact(key, plan, before, out) else None
        )
        if before is not None and there is None and _intact(key, plan, before, out):
            present = tuple(names[name] for name in before.classes if name in names)
            there = Done("", before.shape, before.objects, present)
        if there is not None:
            done[index] = there
    reused = len(done)
    progress("prepare", reused, len(seen))
    missing = list(
        {key: index for index, key in reversed(list(enumerate(keys))) if index not in done}.values()
    )[::-1]
    costs = [_prepared_bytes(seen[index].scan) for index in missing]
    _check_space(out, sum(_stored_bytes(seen[index].scan, plan) for index in missing))
    members = [
        [missing[position] for position in chunk] for chunk in _chunks(len(missing), costs, _workers(config))
    ]
    jobs = [Job([seen[i].case for i in chunk], [keys[i] for i in chunk], plan, out) for chunk in members]
    for number, result in _run(prepare_cases, jobs, members, dict(zip(missing, costs, strict=True)), config):
        for position, index in enumerate(members[number]):
            done[index] = (
                Done(fault=_died(seen[index].case, result))
                if isinstance(result, WorkerDied)
                else result[position]
            )
        progress("prepare", len(done), len(seen))
    by_key = {keys[index]: result for index, result in done.items()}
    return [by_key[key] for key in keys], reused


def _finish(
    out: Path,
    config: Config,
    plan: Plan,
    numbers: dict[str, Any],
    records: Sequence[Record],
    problems: Sequence[Problem],
    earlier: dict[str, Record],
    progress: Progress,
) -> None:
    """Write the tables and the report, the manifest last; a finished folder that would not change is left alone."""
    from medcli.config.loading import save_config
    from medcli.preprocessing.report import write_report

    rows = [
        {"case": p.case, "file": p.file, "reason": p.reason, "left_out": "yes" if p.left_out else "no"}
        for p in problems
    ]
    if _unchanged(out, config, plan, records, rows, earlier):
        return
    progress("report", 0, 1)
    (out / MANIFEST).unlink(missing_ok=True)  # from here on the folder is unfinished
    save_config(config, out / "config.yaml")
    save_plan(plan, out / "plan.yaml")
    write_json(out / "fingerprint.json", numbers)
    write_csv(out / "problems.csv", rows, ["case", "file", "reason", "left_out"])
    write_report(out, config, plan, numbers, records, problems)
    write_manifest(out, records)
    _sweep(out, {record.key for record in records})
    progress("report", 1, 1)


# ---- small parts


def _label_rule(config: Config, found: Discovery, seen: Sequence[Seen]) -> LabelRule:
    if config.task != "segmentation":
        return LabelRule(list(found.classes or []), [], "as the data say, in this order")
    ids = {value for entry in seen for value in entry.scan.labels}
    separate = max(len(entry.case.masks) for entry in seen) > 1
    return label_rule(config.data, found.label_ids, ids, separate_masks=separate)


def _members(seen: Sequence[Seen], task: str, rule: LabelRule) -> list[splits.Member]:
    groups = same_groups(seen)
    return [
        splits.Member(
            entry.case.name,
            groups[entry.case.patient],
            entry.case.patient,
            _stratum(entry, task, rule),
            entry.case.split,
        )
        for entry in seen
    ]


def _stratum(entry: Seen, task: str, rule: LabelRule) -> str:
    if task == "classification":
        return "|".join(sorted(entry.case.classes))
    if task == "detection":
        boxes = entry.case.boxes
        return "" if boxes is None else ",".join(map(str, sorted(set(boxes.classes.tolist()))))
    known = rule.label_ids or [[value for value in entry.scan.labels if value > 0]]
    return ",".join(str(n) for n, ids in enumerate(known) if any(value in entry.scan.labels for value in ids))


def _class_gaps(
    seen: Sequence[Seen], split: dict[str, str], config: Config, rule: LabelRule
) -> list[Problem]:
    """Warn of classes that no training case shows."""
    if config.task == "segmentation":
        return []
    training = [entry.case for entry in seen if split[entry.case.name] == "train"]
    shown: set[str] = {name for case in training for name in case.classes}
    for case in training:
        if case.boxes is not None:
            shown |= {rule.classes[index] for index in set(case.boxes.classes.tolist())}
    missing = [name for name in rule.classes if name not in shown]
    if config.task == "classification" and len({case.classes for case in training}) < 2:
        raise DataError("The training part holds one class only; classification needs two. Check the split.")
    return [Problem("", "", f"no training case shows the class {name}.", False) for name in missing]


def _stacked(config: Config) -> bool:
    images, columns = config.data.images, config.data.columns.image
    return (isinstance(images, dict) and len(images) > 1) or (isinstance(columns, list) and len(columns) > 1)


def _record(
    entry: Seen, key: str, result: Done, plan: Plan, assignment: splits.Assignment, root: Path
) -> Record:
    case, scan = entry.case, entry.scan
    present = case.classes or tuple(plan.classes[index] for index in result.present)
    return Record(
        case=case.name,
        patient=case.patient,
        split=assignment.split[case.name],
        fold=assignment.fold.get(case.name),
        classes=present,
        key=key,
        shape=result.shape,
        original_shape=scan.shape,
        spacing=scan.spacing,
        objects=result.objects,
        sources=tuple(_source(source, root) for source in case.images),
        labels=tuple(_source(source, root) for source in case.masks),
        sha256=scan.digest,
        groups=dict(case.groups),
    )


def _source(source: Any, root: Path) -> str:
    path = source.path.relative_to(root) if source.path.is_relative_to(root) else source.path
    return f"{path.as_posix()}::{source.part}" if source.part else path.as_posix()


def _failed(entry: Seen, reason: str, root: Path, *, left_out: bool = True) -> Problem:
    from medcli.preprocessing.checks import shown_file

    file = shown_file(entry.case, root)
    return Problem(entry.case.name, file, reason.replace(f"{root}/", "").removeprefix(f"{file}: "), left_out)


def _died(case: Case, death: WorkerDied) -> str:
    return f"{case.images[0].path}: {death.reason}."


def _nothing_left(problems: Sequence[Problem]) -> str:
    reasons = list(dict.fromkeys(problem.reason for problem in problems if problem.left_out))
    return f"No usable case is left; {len(problems)} problems, the first: {reasons[0] if reasons else 'none'}"


# ---- work in processes


def _workers(config: Config) -> int:
    wanted = config.preprocess.workers
    most = wanted if isinstance(wanted, int) else default_workers()
    return max(1, min(most, int(config.preprocess.max_memory_gb * 1e9 / (2 * WORKER_BYTES))))


def _run(
    function: Callable,
    jobs: Sequence[Any],
    members: Sequence[Sequence[int]],
    costs: dict[int, float],
    config: Config,
) -> Iterator[tuple[int, Any]]:
    """Run jobs, each as dear as its dearest case; a job whose worker died is done again case by case."""
    budget = config.preprocess.max_memory_gb * 1e9
    prices = [WORKER_BYTES + max(costs[index] for index in chunk) for chunk in members]
    return run(function, jobs, workers=_workers(config), costs=prices, budget=budget, preload=WORKER_MODULES)


def _chunks(count: int, costs: Sequence[float], workers: int) -> list[list[int]]:
    """Positions in groups: small cases many at a time, large ones alone, at least a few groups per worker."""
    most = max(1, min(LARGEST_CHUNK, count // (4 * workers)))
    chunks: list[list[int]] = []
    size = 0.0
    for position in range(count):
        if not chunks or len(chunks[-1]) >= most or size + costs[position] > 50e6:
            chunks.append([])
            size = 0.0
        chunks[-1].append(position)
        size += costs[position]
    return chunks


def _bytes_in_memory(case: Case, signatures: Signatures) -> float:
    """A guess before anything is read; the part of an `.npz` is small, however large the file."""
    if any(source.part and source.path.is_file() for source in case.images):
        return 100e3
    packed = any(
        source.path.suffix.lower() in {".gz", ".jpg", ".jpeg", ".png", ".dcm"} for source in case.images
    )
    return signatures.size(case) * (40.0 if packed else 10.0)


def _prepared_bytes(scan: Scan) -> float:
    return COPIES * _voxels(scan) * 4.0


def _voxels(scan: Scan) -> int:
    count = max(1, scan.channels)
    for n in scan.shape:
        count *= n
    return count


def _stored_bytes(scan: Scan, plan: Plan) -> float:
    """A guess of what its arrays will take on disk."""
    if plan.size is not None:
        count = plan.channels
        for n in plan.size:
            count *= n
        return 4.0 * count + 1000
    scale = 1.0
    if plan.spacing is not None and scan.spacing is not None:
        for before, after in zip(sorted(scan.spacing), sorted(plan.spacing), strict=True):
            scale *= before / after
    return 5.0 * _voxels(scan) * scale + 1000


# ---- the folder


@contextmanager
def _owned(out: Path) -> Iterator[None]:
    """Make the folder and hold it against other runs; the system lets go of it when this process ends in any way."""
    if out.is_file():
        raise RunError(f"{out}: expected a folder, found a file; choose another --out.")
    if (
        out.is_dir()
        and any(out.iterdir())
        and not any((out / name).exists() for name in (SCANS, "plan.yaml", "cases", ".lock"))
    ):
        raise RunError(
            f"{out}: the folder holds other things than prepared data; choose an empty or new one."
        )
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as lock:
        try:
            import fcntl
        except ImportError:  # pragma: no cover - Windows
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"{out}: another `medcli preprocess` is at work in this folder; wait for it."
            ) from None
        yield


def _clear(out: Path) -> None:
    for name in (
        MANIFEST,
        "plan.yaml",
        "config.yaml",
        "fingerprint.json",
        "problems.csv",
        "report.html",
        SCANS,
    ):
        (out / name).unlink(missing_ok=True)
    _sweep(out, set())


def _sweep(out: Path, keys: set[str]) -> None:
    """Remove arrays that no case uses, and what a killed run left half-written."""
    for path in [*(out / "cases").glob("*.npy"), *out.rglob(".partial-*")]:
        if path.name.startswith(".partial-") or path.name.split(".")[0] not in keys:
            path.unlink(missing_ok=True)


def _earlier(out: Path) -> dict[str, Record]:
    """Records of a finished run by key."""
    try:
        return {record.key: record for record in read_manifest(out)}
    except RunError:
        return {}


def _intact(key: str, plan: Plan, record: Record, out: Path) -> bool:
    """Whether the arrays of a finished case are still there, told by their sizes alone."""
    from medcli.preprocessing.prepared import image_path, label_path

    voxels = plan.channels
    for n in record.shape:
        voxels *= n
    try:
        whole = image_path(out, key).stat().st_size >= 4 * voxels
        return whole and (plan.task == "classification" or label_path(out, key).stat().st_size > 0)
    except OSError:
        return False


def _unchanged(
    out: Path,
    config: Config,
    plan: Plan,
    records: Sequence[Record],
    rows: Sequence[dict[str, str]],
    earlier: dict[str, Record],
) -> bool:
    from medcli.config.loading import to_yaml
    from medcli.files import read_csv

    if not earlier or not (out / "report.html").is_file() or not (out / "fingerprint.json").is_file():
        return False
    try:
        return (
            read_manifest(out) == list(records)
            and load_plan(out / "plan.yaml") == plan
            and (out / "config.yaml").read_text(encoding="utf-8") == to_yaml(config)
            and read_csv(out / "problems.csv") == list(rows)
        )
    except (RunError, OSError):
        return False


def _check_space(out: Path, needed: float) -> None:
    free = shutil.disk_usage(out).free
    if needed > 0.98 * free:
        raise MedcliError(
            f"{out}: the prepared cases need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            f"free some space or choose another --out."
        )


def _disk_fault(error: OSError, out: Path) -> MedcliError:
    if error.errno == errno.ENOSPC:
        return MedcliError(
            f"{out}: the disk is full; free some space and run again, finished cases are kept."
        )
    what = error.strerror or type(error).__name__
    return MedcliError(f"{error.filename or out}: cannot be used ({what}); correct this and run again.")
