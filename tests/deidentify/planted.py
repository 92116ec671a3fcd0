"""Writes the planted corpus: medical files full of made-up identifiers, and the key that says where each one is.

    python tests/deidentify/planted.py FOLDER [--size small|full] [--seed 0]

writes FOLDER/files and FOLDER/key.json. The same seed gives the same bytes (with the same libraries). Small: three
patients, under five seconds; full: eight patients, about 190 files.
"""

import argparse
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pydicom
import pydicom.config
from deidentify.planted_dicom import COMPRESSED, NATIVE, Decorator, Instance, contact, name_parts, walk
from deidentify.planted_key import File, Key, Sheet
from deidentify.planted_modalities import BUILDERS, PIXELS, Counter, Scene
from deidentify.planted_others import OTHERS, Page
from deidentify.planted_people import Patient, Source, Study, fold, make_patients
from deidentify.planted_table import load_table
from pydicom.fileset import FileSet
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian


@dataclass(frozen=True)
class Size:
    patients: int
    studies: tuple[tuple[str, ...], ...]  # the kinds of DICOM files of each study of a patient
    others: int  # files of other formats for each patient
    rows: int  # attributes of the table for each file
    discs: int  # patients with a disc of three CT slices and a DICOMDIR


SIZES = {
    "small": Size(
        3, (("ct", "ct", "mr", "us", "cr", "dx", "sc", "emr", "rtstruct", "seg", "sr", "pdf", "pet", "ecg", "pr"),
            ("ct", "cda", "us2", "ect")), 3, 14, 1,
    ),
    "full": Size(
        8, (("ct", "ct", "mr", "us", "cr", "dx", "sc", "emr", "rtstruct", "seg", "sr", "pet"),
             ("ct", "mr", "us2", "ect", "pdf", "cda", "ecg", "pr")), 3, 6, 2,
    ),
}  # fmt: skip


def write_corpus(folder: Path, *, size: str = "small", seed: int = 0) -> Key:
    """Write `folder`/files and `folder`/key.json; the folder's former files are removed."""
    files = Path(folder) / "files"
    if files.exists():
        shutil.rmtree(files)
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        known, pydicom.config.replace_un_with_known_vr = pydicom.config.replace_un_with_known_vr, False
        try:
            key = _write(files, SIZES[size], size, seed)
        finally:
            pydicom.config.replace_un_with_known_vr = known
    key.save(Path(folder) / "key.json")
    return key


def _write(files: Path, size: Size, name: str, seed: int) -> Key:
    source, counter = Source(seed), Counter()
    table_name, table = load_table()
    key = Key(seed, name, table_name)
    decorate = Decorator(table, source.random, size.rows)
    pictures = np.random.default_rng(seed)
    patients = make_patients(source, size.patients, len(size.studies))
    for index, patient in enumerate(patients):
        telling = index % 2 == 0  # names and numbers in the folders' names
        root = _folder(patient, telling)
        for study, kinds in zip(patient.studies, size.studies, strict=True):
            scene = Scene(key, source, patient, study, pictures, counter)
            for kind in kinds:
                one = BUILDERS[kind](scene)
                one.syntax = _syntax(kind, one.dataset.InstanceNumber)
                if kind == "ct" and len(scene.ct) == 1:
                    contact(one)
                decorate(one)
                where = _name(one, root, patient, study, kind, telling)
                one.close(where, files)
        for turn in range(size.others):
            _other(
                key,
                source,
                patient,
                counter.next(),
                f"{root}/extra",
                files,
                index * size.others + turn,
                telling,
            )
        if index < size.discs:
            _disc(key, source, patient, pictures, counter, f"disc{index}", files)
    return key


def _folder(patient: Patient, telling: bool) -> str:
    if not telling:
        return f"set/{patient.label}"
    surname, given = patient.name.split("=")[0].split("^")[:2]
    return f"set/{surname}_{given}_{patient.id}"


def _note_name(sheet: Sheet, patient: Patient, telling: bool) -> None:
    if telling:
        surname, given = name_parts(patient.name)[:2]
        sheet.plant("file name", "name", "path", f"{surname}_{given}", needles=(surname, given))
        sheet.plant("file name", "id", "path", patient.id)


def _name(one: Instance, root: str, patient: Patient, study: Study, kind: str, telling: bool) -> str:
    """The file's path in the corpus, with its identifiers noted."""
    number = one.dataset.InstanceNumber
    _note_name(one.sheet, patient, telling)
    if not telling:
        return f"{root}/{kind}/{number:04}.dcm"
    if number % 3 == 0:
        one.sheet.plant("file name", "uid", "path", str(one.dataset.SOPInstanceUID), allowed=("uids",))
        return f"{root}/{kind}/{one.dataset.SOPInstanceUID}.dcm"
    if number % 3 == 1:
        one.sheet.plant("file name", "accession", "path", study.accession)
        return f"{root}/{study.accession}/{kind}{number:04}"
    born = patient.birth_date
    one.sheet.plant("file name", "birth date", "path", born)
    return f"{root}/{kind}/{fold(patient.name.split('^')[0])}_{born}_{number:04}.dcm"


def _syntax(kind: str, number: int) -> str:
    """Every transfer syntax comes up for images; others are never compressed."""
    choices = NATIVE + COMPRESSED if kind in PIXELS else NATIVE
    if kind in ("seg", "ecg"):
        choices = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    return UID(choices[number % len(choices)])


def _other(
    key: Key, source: Source, patient: Patient, number: int, root: str, files: Path, turn: int, telling: bool
) -> None:
    page = Page(key, source, patient, patient.studies[0], number)
    kind = list(OTHERS)[turn % len(OTHERS)]
    suffix, format_, fingerprint, content = OTHERS[kind](page)
    _note_name(page.sheet, patient, telling)
    page.close(files, f"{root}/scan{number:04}.{suffix}", format_, kind, fingerprint, content)


def _disc(
    key: Key,
    source: Source,
    patient: Patient,
    pictures: np.random.Generator,
    counter: Counter,
    root: str,
    files: Path,
) -> None:
    """Three slices with a DICOMDIR, as on a disc from a hospital."""
    study = patient.studies[0]
    scene = Scene(key, source, patient, study, pictures, counter)
    discs, slices = FileSet(), [BUILDERS["ct"](scene) for _ in range(3)]
    for one in slices:
        one.meta.MediaStorageSOPClassUID = one.dataset.SOPClassUID
        one.meta.MediaStorageSOPInstanceUID = one.dataset.SOPInstanceUID
        one.meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.dataset.file_meta = one.meta
        discs.add(one.dataset)
    discs.ID, discs.UID = "DISC", UID(source.uid())
    (files / root).mkdir(parents=True)
    discs.write(files / root)
    uids = {str(item.SOPInstanceUID): Path(item.path) for item in discs}
    for one in slices:
        one.close(str(uids[one.dataset.SOPInstanceUID].relative_to(files)), files)
    _note_directory(key, patient, slices, files, f"{root}/DICOMDIR")


def _note_directory(key: Key, patient: Patient, slices: list[Instance], files: Path, name: str) -> None:
    """What of the slices' identifiers stands in the directory."""
    sheet = Sheet(key, patient.label, patient.charset)
    known = {plant.value: plant for one in slices for plant in one.sheet.plants}
    for where, element in walk(pydicom.dcmread(files / name)):
        plant = known.get(str(element.value))
        if plant is not None:
            raw = [bytes.fromhex(needle) for needle in plant.needles]
            sheet.plant("DICOMDIR", plant.kind, where, plant.value, needles=raw, allowed=plant.allowed_by)
    sheet.close(name, File("dicom", "dicomdir", patient.label))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    key = write_corpus(arguments.folder, size=arguments.size, seed=arguments.seed)
    print(
        f"{len(key.files)} files, {len(key.plants)} identifiers, {len(key.texts)} burned-in texts ({key.table})"
    )


if __name__ == "__main__":
    main()
