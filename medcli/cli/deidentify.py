"""`medcli deidentify`: images and their sidecars without what names a patient."""

from pathlib import Path
from typing import Annotated

import typer

from medcli.cli.options import Debug, DryRun, Force, Json, Resume


def deidentify(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT...", help="Files, folders, a DICOMDIR or zip archives.", show_default=False
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the clean files.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="YAML", help="Settings of a deid.yaml.")] = None,
    profile: Annotated[
        str, typer.Option(help="The profile of PS3.15 to follow; there is `basic`.")
    ] = "basic",
    retain: Annotated[
        list[str],
        typer.Option(
            metavar="NAMES",
            help="What stays: safe-private, uids, device, institution, patient, full-dates, modified-dates.",
        ),
    ] = [],  # noqa: B006  Typer copies it
    clean: Annotated[
        list[str],
        typer.Option(
            metavar="NAMES", help="What is cleaned: descriptors, structured, graphics, pixels, faces."
        ),
    ] = [],  # noqa: B006
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Secret key of the pseudonyms; made if missing. With the same key the same patient gets the same "
            "pseudonyms in every run. Without it they cannot be linked.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also keep originals and pseudonyms here, encrypted with the key."),
    ] = None,
    open_table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only print such a table as CSV; needs the key.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core.", show_default=False)
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Search the finished bytes for what was collected (default).",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Only look for what still identifies in this folder.")
    ] = None,
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove what names a patient.

    DICOM follows the Basic Profile of PS3.15; NIfTI, JSON, PNG, JPEG and TIFF the same rules. Inputs stay as they
    are. A file that cannot be cleaned with certainty is not written, and the report says why.

    \b
    Examples:
      medcli deidentify disc/ --out clean/ --key study.key
      medcli deidentify disc/ --out clean/ --key study.key --retain modified-dates,patient --clean descriptors,pixels
      medcli deidentify --check clean/
    """
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.deidentify.report import FOLDER, SUMMARY, by_reason, last_line
    from medcli.deidentify.run import Request, preview, run
    from medcli.deidentify.settings import load_settings
    from medcli.errors import SomeCasesFailed, UsageError
    from medcli.parallel import default_workers

    if open_table is not None:
        return _open(open_table, key)
    if check is not None:
        return _check(check, inputs, out, json=json)
    if not inputs or out is None:
        raise UsageError("expected INPUT... and --out DIR, or --check DIR")
    if profile != "basic":
        raise UsageError(f"--profile: expected `basic`, got {profile!r}")
    settings = load_settings(config, retain=retain, clean=clean, verify=verify)
    request = Request(inputs, out, settings, key, table, workers or default_workers(), force, resume)
    if dry_run:
        with progress_bars() as progress:
            content = preview(request, progress)
        return show.as_json(content) if json else show.facts("Would de-identify", content)
    with progress_bars() as progress:
        summary = run(request, progress)
    if json:
        show.as_json(summary.as_dict())
    else:
        show.facts(
            "De-identified",
            {
                "result": last_line(summary),
                "patients": summary.patients,
                "time": show.duration(summary.seconds),
                "folder": out,
                "report": out / FOLDER / SUMMARY,
                **({} if key else {"key": "thrown away; give --key FILE to link later batches"}),
            },
        )
        if summary.quarantined:
            show.table(
                "Quarantined",
                [{"files": n, "reason": why} for why, n in by_reason(summary.quarantined).most_common(10)],
            )
    problems = []
    if summary.quarantined:
        problems.append(f"{len(summary.quarantined)} of {summary.files} files were quarantined")
    if uncertain := summary.faces["uncertain"]:
        problems.append(f"for {uncertain} files it could not be told whether they show a face")
    if problems:
        raise SomeCasesFailed(f"{'; '.join(problems)}; see {out / FOLDER / SUMMARY}")
    return None


def _open(table: Path, key: Path | None) -> None:
    import csv
    import sys

    from medcli.deidentify.pseudonyms import load_key
    from medcli.deidentify.table import COLUMNS, read_rows
    from medcli.errors import UsageError

    if key is None or not key.is_file():
        raise UsageError("--open-table needs --key FILE, the key that the table was written with")
    if not table.is_file():
        raise UsageError(f"--open-table {table}: expected a file; there is none")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([COLUMNS, *sorted(read_rows(table, load_key(key)))])


def _check(folder: Path, inputs: list[Path] | None, out: Path | None, *, json: bool) -> None:
    from medcli.cli import show
    from medcli.cli.display import progress_bars
    from medcli.deidentify.check import check_folder
    from medcli.errors import SomeCasesFailed, UsageError

    if inputs or out is not None:
        raise UsageError("--check DIR goes without INPUT and --out")
    with progress_bars() as progress:
        found = check_folder(folder, progress)
    if json:
        show.as_json(found)
    else:
        show.facts("Checked", {"files": found.files, "with findings": len(found.findings)})
        if found.findings:
            rows = [
                {"file": file, "finding": "; ".join(reasons[:3])}
                for file, reasons in list(found.findings.items())[:20]
            ]
            show.table("Findings", rows)
    if found.findings:
        raise SomeCasesFailed(
            f"{len(found.findings)} of {found.files} files may still identify; see the findings"
        )
