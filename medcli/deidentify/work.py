"""A whole set de-identified: collect over all files of a patient, clean each, verify, write, report."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from medcli import parallel
from medcli.deidentify import dicom, formats, wire
from medcli.deidentify.defacing import UNCERTAIN, Defaced, deface_nifti, deface_series, head_candidates
from medcli.deidentify.dicomdir import new_dicomdir
from medcli.deidentify.identifiers import Finder, Identifiers
from medcli.deidentify.inputs import Item
from medcli.deidentify.names import clean_place
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action, actions_for
from medcli.deidentify.pseudonyms import Pseudonyms
from medcli.deidentify.settings import Settings
from medcli.deidentify.verify import leaks_in_dicom, leaks_in_other
from medcli.errors import FormatError
from medcli.files import atomic_path
from medcli.progress import Progress, ignore

WRITTEN, QUARANTINED, LEFT_OUT = "written", "quarantined", "left out"
DIRECTORY = "A new directory is written at the end."
UNKNOWN, EMPTY = "It is of no format that is handled.", "It is empty."
_CHUNK = 50
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass
class Found:
    """What the first pass learns about one file."""

    kind: str = ""  # dicom, dicomdir, the name of another format, or "" when it is none that is handled
    patient: str = ""
    reason: str = ""  # why it cannot be read


@dataclass(frozen=True)
class Outcome:
    """What became of one file; holds no value of the file.

    Attributes:
        file: Its cleaned place, which is also its path in the output.
        status: written, quarantined or left out.
        actions: What was done, by kind, as tags or places in the file.
    """

    file: str
    status: str
    kind: str = ""
    reason: str = ""
    actions: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    face: str = ""
    """Where faces were looked for: face (removed), no head, or uncertain (left as it was)."""
    input: str = ""
    """A keyed digest of the input's path and state, to know it again."""


@dataclass(frozen=True)
class Job:
    """What every worker needs."""

    settings: Settings
    key: bytes
    out: Path

    @property
    def options(self) -> frozenset[str]:
        return self.settings.options

    @property
    def actions(self) -> dict[int, Action]:
        return actions_for(self.options, "", tuple(sorted(self.settings.overrides.items())))


class _Held:
    """Files that the first pass read, for the second one in the same process; a bounded number of bytes."""

    def __init__(self, most: int):
        self._room = most
        self._files: dict[Item, tuple[wire.File, int]] = {}

    def put(self, item: Item, file: wire.File, size: int) -> None:
        if parallel.in_worker():
            return  # the second pass may be done by another process
        if size <= self._room:
            self._room -= size
            self._files[item] = file, size

    def take(self, item: Item) -> wire.File | None:
        file, size = self._files.pop(item, (None, 0))
        self._room += size
        return file


_HELD = _Held(256 << 20)


# --- first pass: what identifies ----------------------------------------------------------------------------------


def collect_chunk(task: tuple[Job, list[Item]]) -> tuple[list[Found], dict[str, Identifiers]]:
    """For each file what it is and whose, and what identifies each patient."""
    job, items = task
    found: list[Found] = []
    by_patient: dict[str, Identifiers] = defaultdict(Identifiers)
    for item in items:
        identifiers = Identifiers()
        try:
            one = _collect(item, job, identifiers)
        except Exception as error:  # whatever a file does to its reader, the others go on
            one = Found(reason=_reason(error))
        found.append(one)
        by_patient[one.patient].join(identifiers)
    return found, dict(by_patient)


def _collect(item: Item, job: Job, identifiers: Identifiers) -> Found:
    content = item.read()
    if wire.looks_like_dicom(content[:512]):
        file = wire.read(content)
        if dicom.DIRECTORY_RECORDS in file.dataset:
            return Found("dicomdir")  # it repeats what its files say, of everybody on the disc
        identifiers.join(dicom.collect(file, job.actions))
        _HELD.put(item, file, len(content))
        return Found("dicom", dicom.patient_of(file.dataset))
    form = formats.format_of(content[:512], item.place.name)
    if form is not None:
        return Found(form.name, formats.collect(form, content, identifiers, job.actions) or "")
    if item.place.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return Found(reason="By its name it is DICOM, by its content it is not.")
    return Found(reason=UNKNOWN if content else EMPTY)


def _reason(error: Exception) -> str:
    """One sentence without values: libraries' texts may quote the file, so only our own are shown."""
    if isinstance(error, FormatError):
        return str(error)
    if isinstance(error, OSError):
        return f"It cannot be read or written ({error.strerror or type(error).__name__})."
    return f"It is damaged in a way that is not known ({type(error).__name__})."


# --- what each file is cleaned with -------------------------------------------------------------------------------


@dataclass
class Known:
    """All that the first pass found, joined."""

    items: list[Item]
    found: list[Found]
    identifiers: dict[str, Identifiers]

    def patients_below(self) -> dict[PurePosixPath, set[str]]:
        """Folder (the place above files) -> the patients of the files in it and below."""
        result: dict[PurePosixPath, set[str]] = defaultdict(set)
        for item, found in zip(self.items, self.found, strict=True):
            if found.patient:
                for folder in item.place.parents:
                    result[folder].add(found.patient)
        return result

    def join(self, patients: frozenset[str]) -> Identifiers:
        """What identifies any of these, and what was found in files of nobody."""
        joined = Identifiers()
        for patient in (*patients, ""):
            if patient in self.identifiers:
                joined.join(self.identifiers[patient])
        return joined


def cleaned_places(known: Known, pseudonyms: Pseudonyms, *, new_uids: bool) -> list[PurePosixPath]:
    """For each item its place without identifiers; no two are equal."""
    below = known.patients_below()

    @lru_cache(maxsize=1000)
    def finder(patients: frozenset[str]) -> Finder:
        return Finder(known.join(patients), pseudonyms)

    result, taken = [], Counter[str]()
    for item, found, own in zip(known.items, known.found, whose(known), strict=True):
        folders = [*reversed(item.place.parents)][1:]
        finders = [finder(frozenset(below[folder])) if folder in below else None for folder in folders]
        readable = found.kind or found.reason == UNKNOWN
        place = clean_place(
            item.place, [*finders, finder(own) if readable else None], pseudonyms, new_uids=new_uids
        )
        taken[str(place).lower()] += 1
        if (count := taken[str(place).lower()]) > 1:
            place = place.with_name(f"{place.name.split('.')[0]}-{count}{''.join(place.suffixes[-2:])}")
            taken[str(place).lower()] += 1
        result.append(place)
    return result


def whose(known: Known) -> list[frozenset[str]]:
    """For each item the patients it may belong to: its own, else those of the nearest folder that has any."""
    below = known.patients_below()
    result = []
    for item, found in zip(known.items, known.found, strict=True):
        if found.patient:
            result.append(frozenset([found.patient]))
        else:
            result.append(
                frozenset(next((below[folder] for folder in item.place.parents if below.get(folder)), ()))
            )
    return result


# --- second pass: cleaning ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """Files of the same patients, for one worker."""

    job: Job
    items: list[Item]
    found: list[Found]
    places: list[PurePosixPath]
    patients: frozenset[str]
    identifiers: Identifiers


def clean_share(share: Share) -> list[Outcome]:
    policy = policy_for(share)
    return [
        replace(_clean_one(item, found, place, policy, share.job), input=digest_of(item, policy.pseudonyms))
        for item, found, place in zip(share.items, share.found, share.places, strict=True)
    ]


def digest_of(item: Item, pseudonyms: Pseudonyms) -> str:
    """Knows an input again without saying its name."""
    return pseudonyms.digest("input", f"{item.path.absolute()}|{item.member}|{item.stamp()}").hex()[:32]


def policy_for(share: Share) -> Policy:
    pseudonyms = _pseudonyms(share.job.key)
    options = share.job.options
    patient = next(iter(share.patients)) if len(share.patients) == 1 else None
    identifiers = Identifiers()
    identifiers.join(share.identifiers)
    for word in share.job.settings.mask:
        identifiers.patient_names.add(word)
    if "modified-dates" in options and patient is not None:
        moved = {pseudonyms.shift(day.strftime("%Y%m%d"), patient) for day in identifiers.dates}
        identifiers.dates = {day for day in identifiers.dates if day.strftime("%Y%m%d") not in moved}
    keep_dates = "full-dates" in options and "modified-dates" not in options
    finder = Finder(identifiers, None if "uids" in options else pseudonyms, keep_dates=keep_dates)
    return Policy(options, pseudonyms, finder, patient, share.job.settings.overrides)


@lru_cache(maxsize=4)
def _pseudonyms(key: bytes) -> Pseudonyms:
    return Pseudonyms(key)


def _clean_one(item: Item, found: Found, place: PurePosixPath, policy: Policy, job: Job) -> Outcome:
    """Never raises for what a file holds: a file that cannot be cleaned with certainty is quarantined."""
    outcome = Outcome(str(place), QUARANTINED, found.kind)
    if not found.kind:
        unknown = found.reason in (UNKNOWN, EMPTY)
        return replace(outcome, status=LEFT_OUT if unknown else QUARANTINED, reason=found.reason)
    if found.kind == "dicomdir":
        return replace(outcome, status=LEFT_OUT, reason=DIRECTORY)
    try:
        content, outcome = _cleaned(item, found, outcome, policy, job)
    except Exception as error:  # whatever it is, a half-clean file is never written
        return replace(outcome, reason=_reason(error))
    if content is None:
        return outcome
    with atomic_path(job.out / outcome.file, durable=False) as path:
        path.write_bytes(content)
    return replace(outcome, status=WRITTEN)


def _cleaned(
    item: Item, found: Found, outcome: Outcome, policy: Policy, job: Job
) -> tuple[bytes | bytearray | None, Outcome]:
    """The finished bytes, or None with the reason why there are none."""
    if found.kind == "dicom":
        content, log = clean_dicom(_HELD.take(item) or wire.read(item.read()), policy)
        outcome = replace(outcome, actions=log.as_lists(), notes=log.notes)
        leaks = leaks_in_dicom(content, policy.finder) if job.settings.verify else []
    else:
        form = formats.format_of(item.read()[:512], item.place.name)
        assert form is not None
        cleaned = formats.clean(form, item.read(), policy, pixels="pixels" in job.options)
        content = cleaned.content
        actions: dict[str, list[str]] = defaultdict(list)
        for where, action in cleaned.actions.items():
            actions[action].append(policy.finder.mask(where))
        if cleaned.suffix:
            outcome = replace(outcome, file=str(PurePosixPath(outcome.file).with_suffix(cleaned.suffix)))
        notes = list(cleaned.notes)
        face = ""
        if form.name == "nifti" and "faces" in job.options:
            content, face, reason = deface_nifti(content)
            notes.append(f"face: {face}. {reason}")
        outcome = replace(outcome, actions=dict(actions), notes=notes, face=face)
        finished = formats.format_of(content[:512], outcome.file) or form
        leaks = leaks_in_other(finished, content, policy.finder) if job.settings.verify else []
    if leaks:
        return None, replace(outcome, reason="After cleaning " + "; ".join(leaks[:5]) + ".")
    return content, outcome


def clean_dicom(file: wire.File, policy: Policy) -> tuple[bytes | bytearray, dicom.Log]:
    """One DICOM file, header and (where asked for) pixels; `file` is changed."""
    log = dicom.clean(file, policy)
    cleaned = "pixels" in policy.options and dicom.clean_pixels(file, log)
    dicom.stamp(file.dataset, policy.options, pixels_cleaned=cleaned, face=None)
    return wire.write(file), log


# --- all of it ----------------------------------------------------------------------------------------------------


def deidentify(
    items: Sequence[Item],
    job: Job,
    *,
    receive: Callable[[Outcome], None],
    skip: Collection[str] = (),
    workers: int = 1,
    progress: Progress = ignore,
) -> Known:
    """Clean all items into `job.out`; `receive` is called with what became of each, in no certain order.

    `skip`: digests of inputs that were finished before; they are read again for what identifies, not written.
    Returns what the first pass found.
    """
    known = survey(items, job, workers=workers, progress=progress)
    shares = list(_shares(known, job, skip))
    written: list[Outcome] = []  # those whose faces are still to be removed
    done = 0

    def one(_: int, result: list[Outcome] | parallel.WorkerDied, share: Share) -> None:
        nonlocal done
        if isinstance(result, parallel.WorkerDied):
            result = [
                Outcome(str(place), QUARANTINED, reason=f"Of its group of files {result.reason}.")
                for place in share.places
            ]
        for outcome in result:
            if outcome.reason == DIRECTORY:
                continue  # a new one is written at the end
            if outcome.status == WRITTEN and outcome.kind == "dicom" and "faces" in job.options:
                written.append(outcome)
            else:
                receive(outcome)
        done += len(share.items)
        progress("cleaning", done, len(known.items))

    _each(clean_share, shares, one, workers=workers)
    for outcome in _directories(known, job):
        if outcome.input not in skip:
            receive(outcome)
    if "faces" in job.options:
        _deface(written, job, receive, workers=workers, progress=progress)
    return known


def _directories(known: Known, job: Job) -> Iterator[Outcome]:
    """Write a new DICOMDIR in the place of each one that was found, for the files that are there now."""
    if not any(found.kind == "dicomdir" for found in known.found):
        return
    pseudonyms = _pseudonyms(job.key)
    places = cleaned_places(known, pseudonyms, new_uids="uids" not in job.options)
    dicoms = [
        place
        for found, place in zip(known.found, places, strict=True)
        if found.kind == "dicom" and (job.out / place).is_file()
    ]
    for item, found, place in zip(known.items, known.found, places, strict=True):
        if found.kind == "dicomdir":
            root = place.parent
            listed = [other.relative_to(root) for other in dicoms if root in other.parents]
            content = new_dicomdir(job.out / root, listed, pseudonyms)
            with atomic_path(job.out / place, durable=False) as path:
                path.write_bytes(content)
            yield Outcome(
                str(place),
                WRITTEN,
                "dicomdir",
                notes=[f"made anew for the {len(listed)} files that were written below it"],
                input=digest_of(item, pseudonyms),
            )


def _deface(
    written: list[Outcome], job: Job, receive: Callable[[Outcome], None], *, workers: int, progress: Progress
) -> None:
    """Remove faces series by series, and hand out the outcomes that waited for it."""
    by_file = {outcome.file: outcome for outcome in written}
    tasks = [(job, files) for files in head_candidates(job.out, list(by_file))]

    def one(index: int, result: Defaced | parallel.WorkerDied, task: tuple[Job, list[str]]) -> None:
        if isinstance(result, parallel.WorkerDied):
            result = Defaced(UNCERTAIN, f"Of this series {result.reason}.", tuple(task[1]))
        for file in result.files:
            outcome = by_file[file]
            by_file[file] = replace(
                outcome,
                face=result.verdict,
                notes=[*outcome.notes, f"face: {result.verdict}. {result.reason}"],
            )
        progress("faces", index + 1, len(tasks))

    _each(_deface_series, tasks, one, workers=workers)
    for outcome in by_file.values():
        receive(outcome)


def _deface_series(task: tuple[Job, list[str]]) -> Defaced:
    job, files = task
    try:
        return deface_series(job.out, files, job.options)
    except (FormatError, OSError, ValueError, ArithmeticError, LookupError, MemoryError) as error:
        return Defaced(UNCERTAIN, _reason(error), tuple(files))


def survey(items: Sequence[Item], job: Job, *, workers: int = 1, progress: Progress = ignore) -> Known:
    """The first pass over all files."""
    chunks = [(job, list(items[start : start + _CHUNK])) for start in range(0, len(items), _CHUNK)]
    parts: dict[int, list[Found]] = {}
    identifiers: dict[str, Identifiers] = defaultdict(Identifiers)
    done = 0

    def one(index: int, result: Any, chunk: tuple[Job, list[Item]]) -> None:
        nonlocal done
        if isinstance(result, parallel.WorkerDied):
            result = [Found(reason=f"Of its group of files {result.reason}.") for _ in chunk[1]], {}
        parts[index] = result[0]
        for patient, collected in result[1].items():
            identifiers[patient].join(collected)
        done += len(chunk[1])
        progress("reading", done, len(items))

    _each(collect_chunk, chunks, one, workers=workers)
    found = [one for index in range(len(chunks)) for one in parts[index]]
    return Known(list(items), found, dict(identifiers))


def _each(
    function: Callable[[Task], Result],
    tasks: list[Task],
    receive: Callable[[int, Any, Task], None],
    *,
    workers: int,
) -> None:
    if workers < 2 or len(tasks) < 3:
        for index, task in enumerate(tasks):
            receive(index, function(task), task)
    else:
        parallel.run(
            function,
            tasks,
            lambda index, result: receive(index, result, tasks[index]),
            workers=workers,
            preload=[__name__],
        )


def _shares(known: Known, job: Job, skip: Collection[str]) -> Iterator[Share]:
    """Files of the same patients together, in pieces that workers can share."""
    pseudonyms = _pseudonyms(job.key)
    places = cleaned_places(known, _pseudonyms(job.key), new_uids="uids" not in job.options)
    groups: dict[frozenset[str], list[int]] = defaultdict(list)
    for index, patients in enumerate(whose(known)):
        if not skip or digest_of(known.items[index], pseudonyms) not in skip:
            groups[patients].append(index)
    for patients, indices in groups.items():
        identifiers = known.join(patients)
        for start in range(0, len(indices), _CHUNK):
            piece = indices[start : start + _CHUNK]
            yield Share(
                job,
                [known.items[index] for index in piece],
                [known.found[index] for index in piece],
                [places[index] for index in piece],
                patients,
                identifiers,
            )
