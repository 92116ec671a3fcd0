"""The folds of a prepared folder: which fold validates is a question of the manifest, so nothing is prepared again."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from medcli.config.schema import Split
from medcli.preprocessing.checks import joined
from medcli.preprocessing.folder import SCANS
from medcli.preprocessing.prepared import Prepared, Record
from medcli.preprocessing.scan import load_scans
from medcli.preprocessing.splits import Member, divide, like
from medcli.preprocessing.targets import FIFTHS, strata


def in_fold(prepared: Prepared, settings: Split, seed: int) -> Prepared:
    """The prepared folder with `settings.fold` of `settings.folds` for validation and the others for training.

    The folds are those of the manifest when it has as many, else they are made anew by the same rule: patients (and
    those who share an image) together, classes in like proportion. The test part stays as it is.

    Raises DataError when there are fewer patients than folds.
    """
    fold = folds_of(prepared, settings, seed)
    records = [_placed(record, fold.get(record.case), settings.fold) for record in prepared.records]
    what = "classes" if prepared.plan.target is None else FIFTHS
    reason = f"{settings.folds} folds of patients{like(settings, what)}; fold {settings.fold} validates"
    plan = prepared.plan.model_copy(update={"reasons": prepared.plan.reasons | {"split": reason}})
    return replace(prepared, plan=plan, records=tuple(records))


def folds_of(prepared: Prepared, settings: Split, seed: int) -> dict[str, int]:
    """Case to its fold; cases of the test part are not in it."""
    pool = [record for record in prepared.records if record.split != "test"]
    known = {record.case: record.fold for record in pool if record.fold is not None}
    if len(known) == len(pool) and set(known.values()) == set(range(settings.folds)):
        return known
    groups = joined(
        (record.patient, content) for record, content in zip(pool, _contents(prepared, pool), strict=True)
    )
    targets = [record.target for record in pool if record.target is not None]
    alike = ["|".join(sorted(record.classes)) for record in pool] if not targets else strata(targets)
    members = [
        Member(record.case, groups[record.patient], record.patient, stratum)
        for record, stratum in zip(pool, alike, strict=True)
    ]
    return divide(sorted(members, key=lambda member: member.case), settings, seed)


def _contents(prepared: Prepared, records: Sequence[Record]) -> list[str]:
    """What tells images apart, "" for constant ones; by the scans of the folder, else by the files."""
    known: dict[str, str] = defaultdict(str)
    for scan in load_scans(prepared.folder / SCANS).values():
        known[scan.digest] = "" if scan.constant else scan.content
    return [known.get(record.sha256, "") for record in records]


def _placed(record: Record, fold: int | None, validating: int) -> Record:
    if fold is None:
        return record
    return replace(record, fold=fold, split="val" if fold == validating else "train")
