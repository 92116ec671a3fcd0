"""The config that comes with each kind of sample data: commented, and ready to run as it is."""

HEADER = "# Made-up sample data of medcli"
"""First words of every config written here; a folder that has it may be replaced."""

_TOP = """{header}: {title}.
# Everything here was drawn by `medcli sample`; no person is behind it.
#
#   medcli preprocess {config} && medcli train {config}

task: {task}
name: {name}
seed: 0

data:
"""

_REST = """  table: table.csv # one line per case: case, image, label, patient, sex, age, site
  columns:
    case: case
    patient: patient # a patient's pictures stay together in one part
    groups: [sex, age, site] # reported one by one
  split: {val: 0.2, test: 0.2}
"""

_DATA = {
    ("classification", ""): """  format: table
  classes: [clear, opacity]
""",
    ("regression", ""): """  format: table
""",
    ("detection", "voc"): """  format: voc
  images: images
  labels: annotations # Pascal VOC XML
  classes: [RBC, WBC, Platelets]
""",
    ("detection", "coco"): """  format: coco
  images: images
  labels: annotations.json # COCO
  classes: [RBC, WBC, Platelets]
""",
    ("segmentation", ""): """  format: masks
  images: "images/{case}.png"
  labels: "labels/{case}.png"
  classes: {cell: 1, nucleus: 2} # value in the label files
""",
    ("volumes", "nifti"): """  format: masks
  images: "images/{case}.nii.gz"
  labels: "labels/{case}.nii.gz"
  classes: {liver: 1, kidney: 2} # value in the label files
""",
    ("volumes", "dicom"): """  format: masks
  images: "images/{case}" # a folder with one DICOM series
  labels: "labels/{case}.nii.gz"
  classes: {liver: 1, kidney: 2} # value in the label files
""",
}

_MORE = {
    "classification": """
preprocess:
  size: [64, 60] # a third of the pictures' own size: quick, and the opacities stay visible

model:
  name: cnn # learns this within a minute or two
  stages: 3

train:
  epochs: 100
  batch_size: 16
  augment: light

evaluate:
  positive: opacity
""",
    "regression": """
preprocess:
  size: [64, 60] # a third of the pictures' own size

model:
  name: cnn
  stages: 3

train:
  epochs: 40
  batch_size: 16
  learning_rate: 0.003
  augmentations: [rotate, shift, noise, brightness, contrast] # no scale, no erase: what is measured is a size
  augment: light
""",
    "detection": "",
    "segmentation": "",
    "volumes": """
preprocess:
  window: soft_tissue # -160 to 240 HU
""",
}

_TITLES = {
    "classification": "chest X-rays with and without opacities",
    "regression": "chest X-rays with the cardiothoracic ratio in percent",
    "detection": "blood smears with red cells, white cells and platelets",
    "segmentation": "fluorescent cells with nuclei",
    "volumes": "CT-like volumes with liver and kidneys, 3 x 0.8 x 0.8 mm, oblique",
}

_IN_TABLE = {"classification": ("label", "label"), "regression": ("target", "ctr")}
"""Setting of data.columns, and the column, of the kinds whose truth is in the table."""
_NAMES = {
    "classification": "chest",
    "regression": "heart",
    "detection": "blood",
    "segmentation": "cells",
    "volumes": "organs",
}


def config_text(kind: str, format: str, config: str) -> str:
    """The YAML for a kind and format; `config` is its path as the comment shows it."""
    task = "segmentation" if kind == "volumes" else kind
    top = _TOP.format(header=HEADER, title=_TITLES[kind], task=task, name=_NAMES[kind], config=config)
    data = _DATA.get((kind, format)) or _DATA[kind, ""]
    table = _REST if kind in _IN_TABLE else _REST.replace("image, label", "image, its label's file")
    if kind in _IN_TABLE:
        columns = "    image: image\n" + "".join(
            f"    {name}: {column}\n" for name, column in [_IN_TABLE[kind]]
        )
        table = table.replace("image, label", f"image, {_IN_TABLE[kind][1]}")
        table = table.replace("    patient:", f"{columns}    patient:", 1)
    return top + data + table + _MORE[kind]
