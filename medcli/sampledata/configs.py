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
    "detection": "",
    "segmentation": "",
    "volumes": """
preprocess:
  window: soft_tissue # -160 to 240 HU
""",
}

_TITLES = {
    "classification": "chest X-rays with and without opacities",
    "detection": "blood smears with red cells, white cells and platelets",
    "segmentation": "fluorescent cells with nuclei",
    "volumes": "CT-like volumes with liver and kidneys, 3 x 0.8 x 0.8 mm, oblique",
}

_NAMES = {"classification": "chest", "detection": "blood", "segmentation": "cells", "volumes": "organs"}


def config_text(kind: str, format: str, config: str) -> str:
    """The YAML for a kind and format; `config` is its path as the comment shows it."""
    task = "segmentation" if kind == "volumes" else kind
    top = _TOP.format(header=HEADER, title=_TITLES[kind], task=task, name=_NAMES[kind], config=config)
    data = _DATA.get((kind, format)) or _DATA[kind, ""]
    table = _REST if kind == "classification" else _REST.replace("image, label", "image, its label's file")
    if kind == "classification":
        table = table.replace("    patient:", "    image: image\n    label: label\n    patient:", 1)
    return top + data + table + _MORE[kind]
