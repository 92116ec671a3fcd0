"""`medcli preprocess`: from the cases of a config to a finished prepared folder."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from medcli.boxes import Boxes
from medcli.case import Case, Problem, Source
from medcli.clinical import settle
from medcli.config.loading import save_config
from medcli.config.schema import Config
from medcli.errors import DataError
from medcli.files import write_csv, write_json
from medcli.io.cases import ONE_CLASS, Discovery, discover
from medcli.parallel import WorkerDied
from medcli.preprocessing import checks, splits
from medcli.preprocessing.cases import (
    Done,
    Job,
    already_there,
    case_keys,
    measure_cases,
    prepare_cases,
)
from medcli.preprocessing.fingerprint import fingerprint, merged
from medcli.preprocessing.folder import (
    SCANS,
    check_space,
    clear,
    disk_fault,
    earlier_records,
    is_intact,
    is_up_to_date,
    owned,
    sweep,
)
from medcli.preprocessing.labels import LabelRule, label_rule, with_regions
from medcli.preprocessing.objects import kind_of_objects
from medcli.preprocessing.plan import Plan, load_plan, save_plan
from medcli.preprocessing.planning import Evidence, make_plan
from medcli.preprocessing.prepared import MANIFEST, Record, write_manifest
from medcli.preprocessing.scan import Scan, Seen, Signatures, append_scans, load_scans, scan_cases
from medcli.preprocessing.targets import FIFTHS, settle_target, strata
from medcli.preprocessing.workers import bytes_on_disk, bytes_to_prepare, bytes_to_scan, over_cases
from medcli.progress import Progress, ignore


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
        found = discover(config)
        with owned(out):
            if force:
                clear(out)
            summary = _Build(config, out, progress).run(found)
    except OSError as error:
        raise disk_fault(error, out) from error
    return replace(summary, seconds=time.monotonic() - began)


def plan_only(config: Config, out: Path, *, progress: Progress = ignore) -> Plan:
    """The plan that `preprocess` would make. The scans that it rests on are kept in `out`, so they serve again.

    Raises:
        DataError, RunError, MedcliError: As `preprocess`.
    """
    out = Path(out)
    try:
        found = discover(config)
        with owned(out):
            return _Build(config, out, progress).decide(found).plan
    except OSError as error:
        raise disk_fault(error, out) from error


@dataclass(frozen=True)
class _Decided:
    """What is known before any array is written."""

    seen: list[Seen]
    problems: list[Problem]
    division: splits.Assignment
    numbers: dict[str, Any]
    plan: Plan


@dataclass
class _Build:
    config: Config
    out: Path
    progress: Progress

    def decide(self, found: Discovery) -> _Decided:
        """Scan, check, split, measure and plan."""
        config, root = self.config, self.config.data.root
        checked = checks.check(
            self._scanned(found.cases, found.ignore_label),
            config.task,
            root,
            multi_label=found.multi_label,
            ignore_label=found.ignore_label,
        )
        seen, problems = checked.seen, [*found.problems, *checked.problems]
        if not seen:
            raise DataError(_nothing_left(problems))
        rule = self._label_rule(found, seen)
        if rule.objects:
            seen = checks.with_objects(seen, rule)
        division = splits.assign(members_of(seen, config.task, rule), config.data.split, config.seed)
        problems += checks.unknown_id_problems(seen, rule, root)
        problems += checks.duplicate_problems(seen, division.split, root)
        training = [entry for entry in seen if division.split[entry.case.name] == "train"]
        problems += checks.class_gaps(
            training, config.task, rule.classes, normal_only=config.model.name == "autoencoder"
        )
        problems += checks.telling_columns([entry.case for entry in training])

        known = [entry for entry in seen if division.split[entry.case.name] != "test"]
        if division.fold:  # every case trains in some fold, and the plan is that of all folds
            training = known
        numbers = fingerprint(known, rule.classes)
        plan = self._plan(found, known, training, rule, division)
        return _Decided(seen, problems, division, numbers, plan)

    def run(self, found: Discovery) -> Summary:
        decided, root = self.decide(found), self.config.data.root
        seen, problems, division, plan = decided.seen, decided.problems, decided.division, decided.plan
        keys = case_keys(seen, plan)
        done, reused = self._prepared(seen, keys, plan)
        records = []
        for entry, key, result in zip(seen, keys, done, strict=True):
            if result.fault:
                problems.append(checks.problem(entry.case, result.fault, root))
                continue
            if not result.objects and checks.shows_something(entry.scan, plan.ignore_label):
                problems.append(
                    checks.problem(entry.case, "its labels vanish when prepared.", root, left_out=False)
                )
            records.append(_record(entry, key, result, plan, division, root))
        if not any(record.split == "train" for record in records):
            raise DataError(_nothing_left(problems))
        self._finish(plan, decided.numbers, records, problems)
        return Summary(
            cases=len(records),
            left_out=sum(problem.left_out for problem in problems),
            problems=problems,
            reused=reused,
            seconds=0.0,
            folder=self.out,
            splits={part: sum(record.split == part for record in records) for part in splits.PARTS},
        )

    def _scanned(self, cases: Sequence[Case], ignored: int | None) -> list[Seen]:
        """Every case with its scan, from memory where its files have not changed."""
        objects = self.config.task == "detection" and any(case.masks for case in cases)
        signatures = Signatures(objects=objects, ignore_label=ignored)
        marks = [signatures.of(case) for case in cases]
        known = load_scans(self.out / SCANS)
        missing = [index for index, mark in enumerate(marks) if mark not in known]
        done = len(cases) - len(missing)
        self.progress("scan", done, len(cases))

        def receive(indices: list[int], results: list[Scan | WorkerDied]) -> None:
            nonlocal done
            scans = [
                Scan(marks[index], fault=_died(cases[index], result))
                if isinstance(result, WorkerDied)
                else result
                for index, result in zip(indices, results, strict=True)
            ]
            known.update((scan.signature, scan) for scan in scans)
            append_scans(self.out / SCANS, [scan for scan in scans if not scan.fault])
            done += len(indices)
            self.progress("scan", done, len(cases))

        over_cases(
            partial(scan_cases, objects=objects, ignore_label=ignored),
            lambda indices: [(cases[index], marks[index]) for index in indices],
            missing,
            [bytes_to_scan(cases[index], signatures) for index in missing],
            self.config,
            receive,
        )
        return [Seen(case, known[mark]) for case, mark in zip(cases, marks, strict=True)]

    def _label_rule(self, found: Discovery, seen: Sequence[Seen]) -> LabelRule:
        if self.config.task == "detection" and any(entry.case.masks for entry in seen):
            return self._object_rule(found, seen)
        if self.config.task != "segmentation":
            return LabelRule(list(found.classes or []), [], _named(self.config))
        ids = {value for entry in seen for value in entry.scan.labels}
        per_object = self.config.data.labels_are == "instances" and isinstance(self.config.data.labels, str)
        separate = not per_object and any(len(entry.case.masks) > 1 for entry in seen)
        data = self.config.data.model_copy(update={"ignore_label": found.ignore_label})
        rule = label_rule(data, found.label_ids, ids, separate_masks=separate)
        if found.label_ids == {} and found.classes:  # everything above zero is the one class that is named
            rule = replace(rule, classes=list(found.classes), label_ids=[])
        regions = self.config.data.regions or found.regions
        return with_regions(rule, regions) if regions else rule

    def _object_rule(self, found: Discovery, seen: Sequence[Seen]) -> LabelRule:
        """For boxes from masks: which classes there are, and what one object is."""
        files = [Counter(entry.case.classes or [""] * len(entry.case.masks)) for entry in seen]
        values = sorted({row[1] for entry in seen for row in entry.scan.parts})
        objects, why = kind_of_objects(
            self.config.data, values, max(max(count.values(), default=0) for count in files)
        )
        if any(entry.case.classes for entry in seen):
            rule = LabelRule(
                list(found.classes or []), [], "the classes of the mask files, as data.labels names them"
            )
        else:
            rule = label_rule(self.config.data, found.label_ids, values)
            if found.label_ids == {} and found.classes:
                rule = replace(rule, classes=list(found.classes), label_ids=[])
        if self.config.model.one_class:
            together = sorted({value for ids in rule.label_ids for value in ids})
            rule = replace(rule, classes=[ONE_CLASS], label_ids=[together] if together else [])
        return replace(rule, objects=objects, objects_reason=why)

    def _plan(
        self,
        found: Discovery,
        known: Sequence[Seen],
        training: Sequence[Seen],
        rule: LabelRule,
        division: splits.Assignment,
    ) -> Plan:
        evidence = Evidence(
            known=[entry.scan for entry in known],
            train=[entry.scan for entry in training],
            boxes=[_boxes(entry.case).corners for entry in known],
            kinds=[_boxes(entry.case).classes.tolist() for entry in training],
            stacked=bool(self.config.data.planes) or any(len(entry.case.images) > 1 for entry in known),
        )
        plan = make_plan(self.config, evidence, rule, multi_label=found.multi_label)
        if self.config.data.clinical:
            columns = settle(self.config.data.clinical, [entry.case.clinical for entry in training])
            reasons = plan.reasons | {"clinical": "; ".join(column.in_words for column in columns)}
            plan = plan.model_copy(update={"clinical": columns, "reasons": reasons})
        if self.config.task == "regression":
            target = settle_target(plan.classes[0], targets_of(training))
            reasons = plan.reasons | {"target": target.in_words}
            plan = plan.model_copy(update={"target": target, "reasons": reasons})
        plan = plan.model_copy(update={"reasons": {"split": division.reason, **plan.reasons}})
        return self._measured(plan, training)

    def _measured(self, plan: Plan, training: Sequence[Seen]) -> Plan:
        """One mean and std after window and contrast, where the scans cannot tell them."""
        settings = self.config.preprocess
        enhanced = plan.contrast != "none" or settings.window is not None
        fixed = any(rule.kind == "fixed" for rule in plan.intensity)
        if not (enhanced and fixed) or (settings.mean is not None and settings.std is not None):
            return plan
        values: dict[int, Any] = {}  # by index, so that the order in which workers finish does not show

        def receive(indices: list[int], results: list[Any]) -> None:
            values.update(zip(indices, results, strict=True))
            self.progress("measure", len(values), len(training))

        over_cases(
            measure_cases,
            lambda indices: Job([training[index].case for index in indices], [], plan, self.out),
            range(len(training)),
            [bytes_to_prepare(entry.scan) for entry in training],
            self.config,
            receive,
        )
        rows = [values[index] for index in sorted(values) if isinstance(values[index], list)]
        rules = []
        for channel, rule in enumerate(plan.intensity):
            summary = merged([row[channel] for row in rows])
            if summary is not None:
                mean = summary.mean if settings.mean is None else rule.mean
                std = (summary.std or 1.0) if settings.std is None else rule.std
                rule = rule.model_copy(update={"mean": float(f"{mean:.7g}"), "std": float(f"{std:.7g}")})
            rules.append(rule)
        text = plan.reasons["intensity"] + "; measured after window and contrast"
        return plan.model_copy(update={"intensity": rules, "reasons": plan.reasons | {"intensity": text}})

    def _prepared(self, seen: Sequence[Seen], keys: Sequence[str], plan: Plan) -> tuple[list[Done], int]:
        """Write the arrays that are missing; say of every case what it is, and how many needed no work."""
        done = _reusable(keys, plan, self.out)
        reused = sum(key in done for key in keys)
        first = {key: index for index, key in reversed(list(enumerate(keys)))}  # equal cases share arrays
        missing = sorted(index for key, index in first.items() if key not in done)
        self.progress("prepare", reused, len(seen))
        check_space(self.out, sum(bytes_on_disk(seen[index].scan, plan) for index in missing))

        def job_of(indices: list[int]) -> Job:
            return Job(
                [seen[index].case for index in indices], [keys[index] for index in indices], plan, self.out
            )

        def receive(indices: list[int], results: list[Done | WorkerDied]) -> None:
            for index, result in zip(indices, results, strict=True):
                if isinstance(result, WorkerDied):
                    result = Done(fault=_died(seen[index].case, result))
                done[keys[index]] = result
            self.progress("prepare", len(seen) - len(first) + len(done), len(seen))

        if missing:  # imported while the workers are at it, as the report will need it
            Thread(target=import_module, args=("matplotlib.figure",), daemon=True).start()
        costs = [bytes_to_prepare(seen[index].scan) for index in missing]
        over_cases(prepare_cases, job_of, missing, costs, self.config, receive)
        return [done[key] for key in keys], reused

    def _finish(
        self,
        plan: Plan,
        numbers: dict[str, Any],
        records: Sequence[Record],
        problems: Sequence[Problem],
    ) -> None:
        """Write tables and report, the manifest last; leave a finished folder alone that would not change."""
        from medcli.preprocessing.report import write_report

        out, rows = self.out, checks.problem_rows(problems)
        if is_up_to_date(out, self.config, plan, records, rows):
            return
        self.progress("report", 0, 1)
        (out / MANIFEST).unlink(missing_ok=True)  # from here on the folder is unfinished
        save_config(self.config, out / "config.yaml")
        save_plan(plan, out / "plan.yaml")
        write_json(out / "fingerprint.json", numbers)
        write_csv(out / "problems.csv", rows, checks.PROBLEM_COLUMNS)
        write_report(out, self.config, plan, numbers, records, problems)
        if hasattr(os, "sync"):
            os.sync()  # arrays were written without waiting for the disk; the manifest vouches for them
        write_manifest(out, records)
        sweep(out, {record.key for record in records})
        self.progress("report", 1, 1)


def _reusable(keys: Sequence[str], plan: Plan, out: Path) -> dict[str, Done]:
    """What earlier runs, finished or not, have left of these cases, by key."""
    earlier = earlier_records(out)
    number = {name: index for index, name in enumerate(plan.classes)}
    alike = bool(earlier) and load_plan(out / "plan.yaml").regions == plan.regions
    done = {}
    for key in dict.fromkeys(keys):
        record = earlier.get(key)
        if record is not None and alike and is_intact(record, plan, out):
            present = tuple(number[name] for name in record.classes if name in number)
            done[key] = Done("", record.shape, record.objects, present)
        elif (there := already_there(key, plan, out)) is not None:
            done[key] = there
    return done


def members_of(seen: Sequence[Seen], task: str, rule: LabelRule) -> list[splits.Member]:
    groups = checks.same_groups(seen)
    fifths = strata(targets_of(seen)) if task == "regression" else [""] * len(seen)
    return [
        splits.Member(
            case=entry.case.name,
            group=groups[entry.case.patient],
            patient=entry.case.patient,
            stratum=fifth or _stratum(entry, task, rule),
            given=entry.case.split,
            strata_of=FIFTHS if fifth else "classes",
        )
        for entry, fifth in zip(seen, fifths, strict=True)
    ]


def targets_of(seen: Sequence[Seen]) -> list[float]:
    """Regression: the number of every case; those without one were left out."""
    return [entry.case.target for entry in seen if entry.case.target is not None]


def _stratum(entry: Seen, task: str, rule: LabelRule) -> str:
    """What should occur in like proportion in every part: the classes of a case, or those in its label."""
    if task == "classification":
        return "|".join(sorted(entry.case.classes))
    if task == "detection":
        boxes = entry.case.boxes
        return "" if boxes is None else ",".join(map(str, sorted(set(boxes.classes.tolist()))))
    found = {value for value in entry.scan.labels if value > 0 and value != rule.ignore_label}
    meant = rule.label_ids or [sorted(found)]
    return ",".join(str(number) for number, ids in enumerate(meant) if found & set(ids))


def _record(
    entry: Seen, key: str, result: Done, plan: Plan, division: splits.Assignment, root: Path
) -> Record:
    case, scan = entry.case, entry.scan
    present = tuple(plan.classes[index] for index in result.present)

    def below(source: Source) -> str:
        path = checks.below(source.path, root)
        return f"{path}::{source.part}" if source.part else path

    return Record(
        case=case.name,
        patient=case.patient,
        split=division.split[case.name],
        fold=division.fold.get(case.name),
        classes=case.classes if plan.whole_images else present,
        key=key,
        shape=result.shape,
        original_shape=scan.shape,
        spacing=scan.spacing,
        objects=result.objects,
        sources=tuple(map(below, case.images)),
        labels=tuple(map(below, case.masks)),
        sha256=scan.digest,
        groups=dict(case.groups),
        clinical=dict(case.clinical),
        unknown=case.unknown,
        target=case.target,
    )


def _named(config: Config) -> str:
    """Why the classes are called so."""
    if config.task == "regression":
        return "one number, the column data.columns.target"
    return "as the data say, in this order"


def _died(case: Case, death: WorkerDied) -> str:
    return f"{case.images[0].path}: {death.reason}."


def _boxes(case: Case) -> Boxes:
    return Boxes.empty() if case.boxes is None else case.boxes


def _nothing_left(problems: Sequence[Problem]) -> str:
    first = next((problem for problem in problems if problem.left_out), None)
    told = "none" if first is None else f"{first.file}: {first.reason}" if first.file else first.reason
    return f"No usable case is left; {len(problems)} problems, the first: {told}"
