"""De-identification next to its peers: speed on headers, and what each leaves of a planted corpus.

    python benchmarks/deidentify.py [--files 400] [--rounds 3] [--size full] [--peers PYTHON] [--json]

Peers are dicom-anonymizer and dicognito (`pip install dicom-anonymizer dicognito`; no requirements of medcli, passed
over where they are missing). `--peers` is the interpreter that has them, by default this one. All tools run as one
process each, in turns, on files in memory where the machine has /dev/shm; times are of the whole process, start
included, and of its work alone. The leaks are counted by `tests/deidentify/leaks.py`, which knows nothing of medcli.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "tests")  # in place of this folder, whose `deidentify` is this script

from deidentify.leaks import judge  # noqa: E402
from deidentify.planted import write_corpus  # noqa: E402
from deidentify.planted_people import Source  # noqa: E402
from deidentify.planted_table import own_rows  # noqa: E402

MEMORY = Path("/dev/shm")

# Driven file by file, so that one that cannot be read does not end the run; names as their own commands choose them.
DRIVERS = {
    "dicom-anonymizer": """
import sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file
source, out = Path(sys.argv[1]), Path(sys.argv[2])
files, failed, began = [p for p in sorted(source.rglob("*")) if p.is_file()], 0, time.perf_counter()
for path in files:
    target = out / path.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        anonymize_dicom_file(str(path), str(target))
    except Exception:
        failed += 1
print(time.perf_counter() - began, failed)
""",
    "dicognito": """
import sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import pydicom
from dicognito.anonymizer import Anonymizer
source, out = Path(sys.argv[1]), Path(sys.argv[2])
files, failed, began = [p for p in sorted(source.rglob("*")) if p.is_file()], 0, time.perf_counter()
anonymizer = Anonymizer(seed="benchmark")
for path in files:
    try:
        with pydicom.dcmread(path) as data:
            anonymizer.anonymize(data)
            data.save_as(out / (str(data.get("SOPInstanceUID", path.stem)) + ".dcm"))
    except Exception:
        failed += 1
print(time.perf_counter() - began, failed)
""",
}
MODULES = {"dicom-anonymizer": "dicomanonymizer", "dicognito": "dicognito"}


@dataclass(frozen=True)
class Tool:
    """`run` cleans a folder into a new one and gives the seconds of its work alone, without the start."""

    name: str
    run: Callable[[Path, Path], float]


@dataclass(frozen=True)
class Timing:
    whole: float  # seconds
    inside: float
    processor: float  # seconds of user and system time, which other work on the machine changes least


def medcli(*options: str) -> Callable[[Path, Path], float]:
    def run(source: Path, out: Path) -> float:
        command = [
            sys.executable,
            "-m",
            "medcli",
            "deidentify",
            str(source),
            "--out",
            str(out),
            "--workers",
            "1",
        ]
        done = subprocess.run(
            [*command, "--json", *options], capture_output=True, text=True, cwd=ROOT, check=False
        )
        if done.returncode not in (0, 3):
            raise SystemExit(f"medcli ended with {done.returncode}: {done.stderr[-2000:]}")
        return float(json.loads(done.stdout)["seconds"])

    return run


def peer(name: str, python: str) -> Callable[[Path, Path], float]:
    def run(source: Path, out: Path) -> float:
        out.mkdir(parents=True)
        command = [python, "-c", DRIVERS[name], str(source), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-2])

    return run


def tools(python: str) -> list[Tool]:
    found = [Tool("medcli", medcli()), Tool("medcli, not verified", medcli("--no-verify"))]
    for name, module in MODULES.items():
        there = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
        if there.returncode == 0:
            found.append(Tool(name, peer(name, python)))
        else:
            print(f"{name} is not installed and is passed over; pip install {name}", file=sys.stderr)
    return found


def timed(tool: Tool, source: Path) -> Timing:
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        began, used = time.perf_counter(), processor_seconds()
        inside = tool.run(source, Path(folder) / "out")
        return Timing(time.perf_counter() - began, inside, processor_seconds() - used)


def processor_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def alternately(everyone: list[Tool], source: Path, rounds: int) -> dict[str, Timing]:
    """Medians over the rounds."""
    times: dict[str, list[Timing]] = {tool.name: [] for tool in everyone}
    for _ in range(rounds):
        for tool in everyone:
            times[tool.name].append(timed(tool, source))
    return {
        name: Timing(*(statistics.median(column) for column in zip(*map(astuple, row), strict=True)))
        for name, row in times.items()
    }


# --- files


def write_ct(folder: Path, count: int) -> None:
    """Slices of 512 x 512 in 16 bits with about 110 elements, explicit little endian: 0.5 MB each."""
    folder.mkdir()
    random, source = np.random.default_rng(0), Source(0)
    base = _header("CT", "1.2.840.10008.5.1.4.1.1.2", source)
    base.Rows = base.Columns = 512
    base.PixelSpacing, base.SliceThickness, base.KVP = [0.7, 0.7], 1.0, 120
    base.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for row in list(own_rows().values()):
        if len(base) >= 102:
            break
        if row.tag not in base and row.vr in ("LO", "SH", "DA", "ST", "UI"):
            value = {"DA": source.date, "UI": source.uid}.get(row.vr, source.token)()
            base.add_new(row.tag, row.vr, value)
    noise = random.integers(0, 4096, 512 * 512 + count, dtype=np.int16)
    for number in range(count):
        base.SOPInstanceUID, base.InstanceNumber = generate_uid(entropy_srcs=[str(number)]), number + 1
        base.ImagePositionPatient = [0.0, 0.0, float(number)]
        base.PixelData = noise[number : number + 512 * 512].tobytes()
        _save(base, folder / f"{number:04}.dcm")


def write_enhanced_mr(folder: Path) -> None:
    """One file of 100 frames, each with a private sequence: 6,400 private elements in all."""
    folder.mkdir()
    source = Source(1)
    data = _header("MR", "1.2.840.10008.5.1.4.1.1.4.1", source)
    data.Rows = data.Columns = 256
    data.NumberOfFrames, data.InstanceNumber, data.SOPInstanceUID = 100, 1, source.uid()
    frames = []
    for index in range(100):
        frame, content, inner = Dataset(), Dataset(), Dataset()
        content.DimensionIndexValues, content.FrameAcquisitionDateTime = [1, index + 1], "20200102101112"
        frame.FrameContentSequence = Sequence([content])
        block = inner.private_block(0x2005, "ACME MR 01", create=True)
        for offset in range(61):
            vr = ("LO", "FL", "IS", "CS")[offset % 4]
            block.add_new(offset, vr, source.token().upper() if vr in ("LO", "CS") else offset)
        frame.private_block(0x2005, "ACME MR 01", create=True).add_new(0x9F, "SQ", Sequence([inner]))
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.PixelData = np.random.default_rng(0).integers(0, 4096, (100, 256, 256), dtype=np.int16).tobytes()
    _save(data, folder / "enhanced.dcm")


def _header(modality: str, sop_class: str, source: Source) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.Modality = sop_class, modality
    data.PatientName, data.PatientID, data.PatientBirthDate = source.person(), source.digits(), "19620304"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = "20200102"
    data.StudyTime, data.AccessionNumber, data.StudyDescription = (
        "101112",
        source.token(),
        "CT chest with contrast",
    )
    data.SeriesDescription, data.InstitutionName = "axial 1 mm", source.surname()
    data.ReferringPhysicianName, data.StationName = source.person(), source.token()
    for word in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(data, word, source.uid())
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    return data


def _save(data: Dataset, path: Path) -> None:
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data["PixelData"].VR = "OW"
    with pydicom.config.disable_value_validation():
        data.save_as(path, enforce_file_format=True)


# --- measurements


def speed(everyone: list[Tool], folder: Path, count: int, rounds: int) -> dict[str, Any]:
    write_ct(folder / "ct", count)
    times = alternately(everyone, folder / "ct", rounds)
    base = times.get("medcli") or next(iter(times.values()))
    print(f"\n{count} CT files of 0.5 MB, headers only, one process, median of {rounds}")
    print(
        f"{'':24}{'whole s':>9}{'files/s':>9}{'inside s':>10}{'files/s':>9}{'processor s':>13}{'medcli is':>13}"
    )
    for name, row in times.items():
        print(
            f"{name:24}{row.whole:9.2f}{count / row.whole:9.1f}{row.inside:10.2f}{count / row.inside:9.1f}"
            f"{row.processor:13.2f}{row.inside / base.inside:6.2f} as fast",
            flush=True,
        )
    return {name: asdict(row) | {"files": count} for name, row in times.items()}


def enhanced(everyone: list[Tool], folder: Path, rounds: int) -> dict[str, Any]:
    write_enhanced_mr(folder / "mr")
    times = alternately(everyone, folder / "mr", rounds)
    print(f"\nOne enhanced MR with 6,400 private elements, 13 MB, median of {rounds}")
    print(f"{'':24}{'whole s':>9}{'inside s':>10}{'processor s':>13}")
    for name, row in times.items():
        print(f"{name:24}{row.whole:9.2f}{row.inside:10.2f}{row.processor:13.2f}", flush=True)
    return {name: asdict(row) for name, row in times.items()}


def leaks(everyone: list[Tool], folder: Path, size: str) -> dict[str, Any]:
    """Planted values left by each tool, by where they were planted; a file without an output leaks nothing."""
    corpus = folder / "planted"
    key = write_corpus(corpus, size=size)
    planted = dict(sorted(Counter(plant.category for plant in key.plants).items()))
    found: dict[str, dict[str, int]] = {}
    files: dict[str, int] = {}
    for tool in everyone:
        if tool.name.endswith("not verified"):
            continue
        with tempfile.TemporaryDirectory(dir=folder) as out:
            tool.run(corpus / "files", Path(out) / "out")
            verdict = judge(corpus, Path(out) / "out", key=key)
            found[tool.name], files[tool.name] = verdict.by_category(), len(key.files) - len(verdict.missing)
    print(f"\nLeft of {len(key.plants)} identifiers planted in {len(key.files)} files ({key.table})")
    print(f"{'':24}{'planted':>9}" + "".join(f"{name:>18}" for name in found))
    for category, count in planted.items():
        row = "".join(f"{left.get(category, 0):18}" for left in found.values())
        print(f"{category:24}{count:9}{row}")
    print(f"{'all':24}{len(key.plants):9}" + "".join(f"{sum(left.values()):18}" for left in found.values()))
    print(
        f"{'files that came out':24}{len(key.files):9}" + "".join(f"{count:18}" for count in files.values())
    )
    return {"planted": planted, "left": found, "files": files}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="full", help="of the planted corpus: small or full")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--only", choices=("speed", "enhanced", "leaks"), action="append")
    parser.add_argument("--without-medcli", action="store_true", help="the peers alone")
    parser.add_argument("--json", action="store_true", help="print JSON last")
    arguments = parser.parse_args()
    everyone = tools(arguments.peers)[2 if arguments.without_medcli else 0 :]
    wanted = arguments.only or ("speed", "enhanced", "leaks")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        if "speed" in wanted:
            results["speed"] = speed(everyone, folder, arguments.files, arguments.rounds)
        if "enhanced" in wanted:
            results["enhanced"] = enhanced(everyone, folder, arguments.rounds)
        if "leaks" in wanted:
            results["leaks"] = leaks(everyone, folder, arguments.size)
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
