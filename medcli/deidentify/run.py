"""`medcli deidentify` as one function: inputs to a clean folder with its report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medcli.deidentify.inputs import Item, find_items
from medcli.deidentify.pseudonyms import Pseudonyms, load_key, random_key
from medcli.deidentify.report import Lines, Summary, read_lines, write_report
from medcli.deidentify.settings import Settings
from medcli.deidentify.table import add_rows, read_rows, rows_for
from medcli.deidentify.work import WRITTEN, Job, Outcome, deidentify, digest_of, survey
from medcli.errors import DataError, UsageError
from medcli.progress import Progress, ignore


@dataclass(frozen=True)
class Request:
    """What the command was called with."""

    inputs: Sequence[Path]
    out: Path
    settings: Settings
    key: Path | None = None
    table: Path | None = None
    workers: int = 1
    force: bool = False
    resume: bool = False


def run(request: Request, progress: Progress = ignore) -> Summary:
    """Clean everything into `request.out`.

    Raises:
        UsageError: A missing input; an output folder that holds something (unless forced or resumed), or that
            lies inside of an input or around one; resuming without a key file.
        DataError: No file was found.
    """
    started = time.monotonic()
    items = find_items(request.inputs)
    if not items:
        raise DataError(f"No files were found in {', '.join(map(str, request.inputs))}.")
    check_out(request)
    key = load_key(request.key) if request.key else random_key()
    if request.table is not None and request.table.exists():
        read_rows(request.table, key)  # a wrong key is told before the work, not after it
    job = Job(request.settings, key, request.out.absolute())
    for unfinished in request.out.rglob(".partial-*"):  # of a run that was killed
        unfinished.unlink(missing_ok=True)
    summary = Summary()
    before = _done_before(items, job) if request.resume else []
    for outcome in before:
        summary.done_before += outcome.status == WRITTEN
        summary.add(outcome)
    summary.written -= summary.done_before
    skip = {outcome.input for outcome in before}
    with Lines(request.out, append=request.resume) as lines:

        def receive(outcome: Outcome) -> None:
            lines.add(outcome)
            summary.add(outcome)

        known = deidentify(items, job, skip=skip, workers=request.workers, progress=progress, receive=receive)
    summary.patients = sum(bool(patient) for patient in known.identifiers)
    if request.table is not None:
        uids = (uid for identifiers in known.identifiers.values() for uid in identifiers.uids)
        add_rows(request.table, rows_for(known.identifiers, uids, Pseudonyms(key)), key)
    summary.seconds = time.monotonic() - started
    write_report(request.out, summary, request.settings, keyed=request.key is not None)
    return summary


def preview(request: Request, progress: Progress = ignore) -> dict[str, int]:
    """What would be done, by the first pass alone: format -> number of files."""
    items = find_items(request.inputs)
    check_out(request)
    job = Job(request.settings, random_key(), request.out.absolute())
    known = survey(items, job, workers=request.workers, progress=progress)
    counts: dict[str, int] = {}
    for found in known.found:
        name = found.kind or found.reason
        counts[name] = counts.get(name, 0) + 1
    return counts


def check_out(request: Request) -> None:
    """Nothing is overwritten unasked, and inputs are never touched."""
    out = request.out.absolute()
    if out.is_file():
        raise UsageError(f"{request.out}: expected a folder to write to, found a file.")
    for given in request.inputs:
        source = given.expanduser().absolute()
        if source.is_dir() and (out == source or source in out.parents):
            raise UsageError(f"--out {request.out} lies in the input {given}; choose a folder outside of it.")
    if request.resume and request.key is None:
        raise UsageError(
            "--resume needs --key: without the key of the first run the pseudonyms would differ."
        )
    if request.table is not None and request.key is None:
        raise UsageError("--table needs --key, which encrypts it.")
    for name, secret in (("--key", request.key), ("--table", request.table)):
        if secret is not None and out in secret.absolute().parents:
            raise UsageError(
                f"{name} {secret} lies in the output {request.out}; keep it apart from what is released."
            )
    if out.is_dir() and any(out.iterdir()) and not (request.force or request.resume):
        raise UsageError(
            f"{request.out} is not empty; give --resume to go on, --force to write into it, or another folder."
        )


def _done_before(items: Sequence[Item], job: Job) -> list[Outcome]:
    """What is finished and unchanged since: the output is there (or was refused for good), the input the same."""
    pseudonyms = Pseudonyms(job.key)
    current = {digest_of(item, pseudonyms) for item in items}
    newest = {outcome.input: outcome for outcome in read_lines(job.out)}
    return [
        outcome
        for digest, outcome in newest.items()
        if digest in current and (outcome.status != WRITTEN or (job.out / outcome.file).is_file())
    ]
