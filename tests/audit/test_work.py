"""An audit from files to findings: planted traps are found without being told, and clean data stay quiet."""

import csv
import json

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.ndimage import gaussian_filter

from medcli.audit.look import look_at, picture_header, thumbnail
from medcli.audit.work import audit
from medcli.case import Case, Source
from medcli.cli import faults
from medcli.config.loading import from_dict, load_config
from medcli.errors import DataError


def texture(random, side=64):
    noise = random.normal(0, 1, (side, side))
    return sum(gaussian_filter(noise, size) * size for size in (1, 2, 4, 8))


def write(folder, *, traps, patients=60, per=2, seed=0):
    """A table with sex, site and a column `fold` that is not named in the config.

    With traps: `fold` tears patients, site goes with the label and leaves a mark in a corner, a picture is there
    twice, another one is there again mirrored and saved as JPEG, and a column tells the label but once.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for patient in range(patients):
        ill = int(random.random() < 0.5)
        site = "north" if random.random() < (0.8 if ill and traps else 0.2 if traps else 0.5) else "south"
        sex = random.choice(["F", "M"])
        fold = "train" if patient % 3 else "test"
        for visit in range(per):
            name = f"c{patient:03d}_{visit}"
            picture = np.clip(110 + 15 * texture(random), 0, 255).astype(np.uint8)
            if traps and site == "north":
                picture[:6, :6] = 240
            Pillow.fromarray(picture).save(folder / "images" / f"{name}.png")
            torn = traps and patient < 10
            rows.append(
                {
                    "image": f"{name}.png",
                    "label": ("well", "ill")[ill],
                    "patient": f"p{patient}",
                    "site": site,
                }
                | {"sex": sex, "fold": ("train", "test")[visit % 2] if torn else fold}
                | {"finding": "none" if not ill else random.choice(["mass", "fluid"])}
            )
    if traps:
        first = Pillow.open(folder / "images" / rows[0]["image"])
        first.save(folder / "images" / rows[40]["image"])
        other = Pillow.open(folder / "images" / rows[20]["image"])
        other.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT).save(folder / "images/again.jpg", quality=70)
        rows[60]["image"] = "again.jpg"
        wrong = next(row for row in rows if row["label"] == "ill")
        wrong["finding"] = "none"
    else:
        for row in rows:
            del row["finding"]
    with open(folder / "table.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def config_of(folder, **columns):
    data = {"root": str(folder), "images": "images", "table": "table.csv", "columns": columns}
    return from_dict({"task": "classification", "data": data}, folder=folder, name="made_up")


@pytest.fixture(scope="module")
def trapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trapped")
    return folder, write(folder, traps=True)


@pytest.fixture(scope="module")
def result(trapped):
    return audit(config_of(trapped[0]), trapped[0] / "audit")


def texts(result, level, check):
    return [finding.text for finding in result.findings if (finding.level, finding.check) == (level, check)]


def test_patients_torn_by_a_column_that_is_not_used(result):
    (text,) = texts(result, "warning", "patient leakage")
    assert text.startswith("The column fold: 10 of 60 patients are in more than one part")
    assert text.endswith("It is not used now; do not use it.")
    assert not any(finding.level == "leak" for finding in result.findings)


def test_duplicates(result, trapped):
    names = [row["image"].rpartition(".")[0] for row in trapped[1]]
    assert any(f"{names[0]} = {names[40]}" in text for text in texts(result, "warning", "exact duplicates"))
    (near,) = [pair for pair in result.pairs if not pair.exact]
    assert (near.first, near.second, near.turn) == (20, 60, "mirrored")


def test_confounding_and_the_open_shortcut(result):
    assert any(
        text.startswith("The label goes with site (") for text in texts(result, "warning", "confounding")
    )
    shortcuts = texts(result, "warning", "shortcut")
    assert any(text.startswith("A shortcut is open: site can be told from the") for text in shortcuts)
    assert any(text.startswith("The label can be told from the four corners alone") for text in shortcuts)
    assert any(
        text.startswith("The column finding is the label") for text in texts(result, "note", "confounding")
    )


def test_a_label_against_its_finding(result, trapped):
    wrong = next(row["image"] for row in trapped[1] if row["label"] == "ill").removesuffix(".png")
    assert any(
        text.startswith("1 case with a label that finding contradicts") and text.endswith(f": {wrong}.")
        for text in texts(result, "warning", "label errors")
    )
    assert [reason for _, reason in result.suspects] == ["label against finding"]


def test_files(result, trapped):
    folder = trapped[0] / "audit"
    content = json.loads((folder / "audit.json").read_text())
    assert content["cases"] == 120 and content["patients"] == 60
    assert len(content["findings"]) == len(result.findings)
    assert {"associations", "shortcuts", "label errors", "coverage"} == set(content["tables"])
    page = (folder / "audit.html").read_text()
    assert "A shortcut is open: site" in page
    assert page.count("<img") == 2 + 1  # two pairs, one suspect


def test_clean_data_stay_quiet(tmp_path):
    write(tmp_path, traps=False, seed=1)  # one clean set in twenty gets a warning: tests are at the 5 % level
    result = audit(config_of(tmp_path), None)
    assert [finding.text for finding in result.findings if finding.level != "note"] == []
    assert result.pairs == [] and result.suspects == []


def test_the_split_in_use_leaks(trapped):
    result = audit(config_of(trapped[0], split="fold"), None)
    assert result.findings[0].level == "leak"
    assert result.findings[0].text.startswith("The split that the data give: 10 of 60 patients")
    torn = trapped[1][0]["fold"] != trapped[1][40]["fold"]
    assert bool(texts(result, "leak", "exact duplicates")) == torn


def test_a_split_file(trapped, tmp_path):
    rows = trapped[1]
    lines = [f"{row['image'].rpartition('.')[0]},{'train' if n % 2 else 'val'}" for n, row in enumerate(rows)]
    (tmp_path / "split.csv").write_text("case,split\n" + "\n".join(lines) + "\n")
    data = {"root": str(trapped[0]), "images": "images", "table": "table.csv", "split": {"file": "split.csv"}}
    config = from_dict({"task": "classification", "data": data}, folder=tmp_path, name="made_up")
    leak = audit(config, None).findings[0]
    assert leak.text.startswith("The split file split.csv: 60 of 60 patients are in more than one part")


def test_unreadable_images_are_counted(tmp_path):
    write(tmp_path, traps=False, patients=20)
    (tmp_path / "images/c000_0.png").write_bytes(b"no picture")
    result = audit(config_of(tmp_path), None)
    assert (result.cases, result.unreadable) == (39, 1)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"None of the 40 cases can be read\. The first"):
        audit(config_of(tmp_path), None)


def test_detection_and_segmentation(tmp_path):
    from medcli.sampledata import write_sample

    for kind in ("detection", "segmentation"):
        config = load_config(write_sample(kind, tmp_path / kind, cases=8))
        result = audit(config, tmp_path / kind / "audit")
        assert result.cases == 8
        assert (tmp_path / kind / "audit/audit.html").is_file()


# ---- one image


def test_a_look_ignores_how_the_picture_is_stored(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Pillow.fromarray(grey).save(tmp_path / "grey.png")
    Pillow.fromarray(grey).convert("RGBA").save(tmp_path / "rgba.png")
    one, other = (look_at(Case(name, (Source(tmp_path / name),))) for name in ("grey.png", "rgba.png"))
    assert one.pixels == other.pixels
    assert one.content != other.content
    assert one.thumb.shape == (64, 64, 1)
    assert (one.facts["rows"], one.facts["columns"], one.facts["aspect"]) == (20, 30, 1.5)
    assert (one.facts["bands"], other.facts["bands"]) == (1, 4)
    assert one.brightness[0] == pytest.approx(grey.mean())


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 95])
def test_jpeg_quality(tmp_path, quality):
    path = tmp_path / "a.jpg"
    Pillow.fromarray(np.zeros((16, 16), np.uint8)).save(path, quality=quality)
    assert picture_header(path) == {"bands": 1, "JPEG quality": pytest.approx(quality, abs=1)}
    assert picture_header(tmp_path / "missing.jpg") == {}


def test_thumbnails_average_over_areas():
    stripes = np.zeros((640, 640, 1), np.uint8)
    stripes[::2] = 200
    assert np.abs(thumbnail(stripes).astype(int) - 100).max() <= 5  # without averaging it would be 100


# ---- the command


@pytest.fixture
def medcli(monkeypatch, capfd):
    from medcli.cli.app import app

    monkeypatch.setattr(faults, "silence", lambda **_: None)

    def run(*arguments):
        code = faults.run(app, [str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_command(medcli, tmp_path):
    write(tmp_path / "data", traps=True, patients=32)
    job = tmp_path / "job.yaml"
    job.write_text("task: classification\ndata: {root: data, images: images, table: table.csv}\n")
    code, out, _ = medcli("audit", job, "--no-report", "--gate", "leakage")
    assert code == 0  # the column that leaks is not used
    assert "patient leakage" in out and "prepared/job-audit/audit.json" in out.replace("\n", "")
    assert not (tmp_path / "prepared/job-audit/audit.html").exists()
    split = ("--set", "data.columns.split=fold", "--no-report")
    code, out, err = medcli("audit", job, *split, "--json", "--gate", "leakage")
    assert code == 4
    assert err.startswith(
        "medcli: error: Not met: no leakage. The split that the data give: 10 of 32 patients"
    )
    assert json.loads(out)["findings"][0]["level"] == "leak"
    assert medcli("audit", job, "--gate", "all")[0] == 2
