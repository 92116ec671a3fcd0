"""Who trains, who validates, who tests: patients are divided, never cases."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medcli.config.schema import Split
from medcli.errors import DataError
from medcli.files import read_csv

PARTS = ("train", "val", "test")
DRAWS = 40
"""Random divisions of the patients of which the best is taken."""


@dataclass(frozen=True)
class Member:
    """What the split needs of a case.

    Attributes:
        case: Its name.
        group: Cases of one group stay together: its patient, or several patients that share an image.
        patient: Named in a split file.
        stratum: What should occur in like proportion in every part (class, classes present).
        given: The split that the data say, or None.
        strata_of: What the strata are of, for the reason.
    """

    case: str
    group: str
    patient: str
    stratum: str
    given: str | None = None
    strata_of: str = "classes"


@dataclass(frozen=True)
class Assignment:
    """The split of every case by name, its fold (empty without folds), and how it came about."""

    split: dict[str, str]
    fold: dict[str, int]
    reason: str


def assign(members: Sequence[Member], settings: Split, seed: int) -> Assignment:
    """Divide the cases; the result does not depend on their order.

    A split that the data or `settings.file` give is kept; a missing validation part comes from its training part.

    Raises:
        DataError: A patient is in two given splits, a case has none while others do, too few patients.
    """
    members = sorted(members, key=lambda member: member.case)
    if settings.file is not None:
        members = from_file(members, settings.file)
    given = {member.case: member.given for member in members if member.given}
    if given:
        without = [member.case for member in members if not member.given]
        if without:
            raise DataError(
                f"{len(given)} cases have a given split and {len(without)} have none (such as {without[0]}); "
                f"give every case one, or leave them out with data.include or data.exclude."
            )
        _check_given(members)
    split = dict(given) if given else {member.case: "train" for member in members}
    reasons = [_given_reason(settings)] if given else []
    if settings.test and "test" not in given.values():
        reasons.append(_take(members, split, "test", settings.test, settings, seed))
    if settings.folds:
        if settings.folds < 2 or settings.fold >= settings.folds:
            raise DataError(
                f"data.split.fold: expected 0 to {settings.folds - 1} for {settings.folds} folds (at least "
                f"2), got {settings.fold}."
            )
        pool = [member for member in members if split[member.case] != "test"]
        fold = divide(pool, settings, seed)
        split |= {case: "val" if number == settings.fold else "train" for case, number in fold.items()}
        what = members[0].strata_of
        reasons.append(
            f"{settings.folds} folds of patients{like(settings, what)}; fold {settings.fold} validates"
        )
        return Assignment(split, fold, "; ".join(reasons))
    if settings.val and "val" not in given.values():
        share = settings.val if given else settings.val / max(1e-9, 1 - settings.test)
        reasons.append(_take(members, split, "val", min(share, 1.0), settings, seed + 1))
    return Assignment(split, {}, "; ".join(reasons) or "everything trains (data.split.val: 0)")


def _given_reason(settings: Split) -> str:
    return f"as {settings.file.name} says" if settings.file else "as the data say"


def like(settings: Split, what: str = "classes") -> str:
    """The end of the sentence about a division."""
    return f", {what} in like proportion" if settings.stratify else ""


def _take(
    members: Sequence[Member], split: dict[str, str], part: str, share: float, settings: Split, seed: int
) -> str:
    """Move about `share` of the training cases to another part, whole groups, and say what was done."""
    pool = [member for member in members if split[member.case] == "train"]
    groups = {member.group for member in pool}
    if len(groups) < 2:
        raise DataError(
            f"{len(groups)} patient(s) cannot be divided into training and {part}: expected at least 2; "
            f"add data, or set data.split.{part}: 0."
        )
    chosen = _best_draw(pool, share, settings.stratify, seed)
    for index in chosen:
        split[pool[index].case] = part
    taken = len({pool[index].group for index in chosen})
    return (
        f"{part}: {len(chosen)} of {len(pool)} cases ({taken} of {len(groups)} patients), "
        f"asked for {share:.0%}{like(settings, pool[0].strata_of)}, the best of several divisions of the patients"
    )


def _best_draw(pool: Sequence[Member], share: float, stratify: bool, seed: int) -> np.ndarray:
    """Indices of the division whose size and strata come closest to the share."""
    strata = _strata(pool, stratify)
    totals = np.bincount(strata)
    best, best_score = None, np.inf
    for chosen in _draws(pool, strata, share, seed):
        if not 0 < len(chosen) < len(pool):
            continue
        counts = np.bincount(strata[chosen], minlength=len(totals))
        off_strata = np.abs(counts / totals - share) * totals / totals.sum()
        missing = np.count_nonzero((counts == 0) | (counts == totals))  # a class wholly on one side is worst
        score = abs(len(chosen) / len(pool) - share) + off_strata.sum() + missing
        if score < best_score - 1e-12:
            best, best_score = chosen, score
    assert best is not None  # every draw of two or more groups leaves both sides filled
    return np.sort(best)


def _draws(pool: Sequence[Member], strata: np.ndarray, share: float, seed: int) -> Iterator[np.ndarray]:
    """Candidate index sets, each made of whole groups."""
    groups = _numbered([member.group for member in pool])
    count = int(groups.max()) + 1
    nothing = np.zeros((len(pool), 1))
    take = min(count - 1, max(1, round(count * share)))
    smallest = int(np.bincount(strata).min())
    one_each = count == len(pool) and smallest * min(share, 1 - share) >= 1  # every patient is one case
    if one_each and smallest == len(
        pool
    ):  # what the library draws of one stratum, without its second of loading
        yield np.random.RandomState(seed).permutation(count)[count - take :]
        return
    from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, StratifiedShuffleSplit

    if one_each:
        splitter = StratifiedShuffleSplit(1, test_size=take, random_state=seed)
        yield next(splitter.split(nothing, strata))[1]
        return
    parts = round(1 / share) if share > 0 else count
    if 2 <= parts <= count:
        with warnings.catch_warnings():  # a class rarer than the number of parts is judged by the score below
            warnings.simplefilter("ignore", UserWarning)
            for repeat in range(3 if count < 2000 else 1):
                folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed + repeat)
                try:
                    yield from (chosen for _, chosen in folds.split(nothing, strata, groups))
                except ValueError:  # every class is rarer than the number of parts
                    break
    for _, chosen in GroupShuffleSplit(DRAWS, test_size=take, random_state=seed).split(
        nothing, strata, groups
    ):
        yield chosen


def divide(pool: Sequence[Member], settings: Split, seed: int) -> dict[str, int]:
    """Case to its fold, for members sorted by case; see `assign`. Raises DataError: fewer patients than folds."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    groups = _numbered([member.group for member in pool])
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < settings.folds:
        raise DataError(
            f"data.split.folds: expected at most as many folds as patients ({count}), got {settings.folds}."
        )
    strata = _strata(pool, settings.stratify)
    nothing = np.zeros((len(pool), 1))
    if np.bincount(strata).max() >= settings.folds:
        splitter = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=seed + 1)
    else:
        splitter = GroupKFold(settings.folds, shuffle=True, random_state=seed + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        parts = [chosen for _, chosen in splitter.split(nothing, strata, groups)]
    if any(len(chosen) == 0 for chosen in parts):  # few patients of very unequal size
        splitter = GroupKFold(settings.folds)
        parts = [chosen for _, chosen in splitter.split(nothing, strata, groups)]
    return {pool[index].case: number for number, chosen in enumerate(parts) for index in chosen}


def _strata(pool: Sequence[Member], stratify: bool) -> np.ndarray:
    """Small integers; strata with one case only are thrown together."""
    names = [member.stratum if stratify else "" for member in pool]
    common = Counter(names)
    return _numbered([name if common[name] > 1 else "rare" for name in names])


def _numbered(names: Sequence[str]) -> np.ndarray:
    return np.unique(np.array(names), return_inverse=True)[1]


def _check_given(members: Sequence[Member]) -> None:
    splits: dict[str, dict[str, str]] = defaultdict(dict)
    for member in members:
        splits[member.patient].setdefault(str(member.given), member.case)
    torn = [cases for cases in splits.values() if len(cases) > 1]
    if torn:
        example = " and ".join(f"{case} ({part})" for part, case in torn[0].items())
        raise DataError(
            f"{len(torn)} patients have cases in more than one given split, for example {example}; a patient "
            f"must be in one only. Correct the split, or leave it out: medcli then divides the patients."
        )


def from_file(members: Sequence[Member], path: Path) -> list[Member]:
    """Take the split from a CSV with columns case (or patient) and split."""
    try:
        rows = read_csv(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: data.split.file cannot be read ({type(error).__name__}).") from None
    columns = set(rows[0]) if rows else set()
    by = "case" if "case" in columns else "patient"
    if by not in columns or "split" not in columns:
        raise DataError(
            f"{path}: expected the columns case (or patient) and split, "
            f"found {', '.join(sorted(columns)) or 'none'}."
        )
    table: Mapping[str, str] = {row[by].strip(): row["split"].strip().lower() for row in rows}
    wrong = sorted(set(table.values()) - set(PARTS))
    if wrong:
        raise DataError(
            f"{path}: expected train, val or test in the column split, found {', '.join(wrong[:5])}."
        )
    named = [replace(m, given=table.get(getattr(m, by))) for m in members]
    if not any(member.given for member in named):
        raise DataError(f"{path}: none of its {len(table)} names is a {by} of this data set.")
    return named
