"""The plan: what `auto` became and why. It holds everything needed to prepare an image and to build the network."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medcli.clinical import ClinicalColumn, width
from medcli.config.schema import WHOLE_IMAGES
from medcli.errors import RunError
from medcli.files import plain, write_text

if TYPE_CHECKING:
    from pydantic import ValidationError

Count = Annotated[int, Field(ge=1)]


class Intensity(BaseModel):
    """How the values of one channel are normalised: clip, then by kind.

    Attributes:
        low, high: Clip limits in units of the image, before normalising; None: no clipping.
        kind: zscore: minus mean, over std of this image; percentile, minmax: to 0..1 of this image;
            fixed: minus `mean`, over `std`; none.
        mean, std: For fixed; in units of the image after contrast enhancement.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["zscore", "percentile", "minmax", "fixed", "none"]
    low: float | None = None
    high: float | None = None
    mean: float = 0.0
    std: float = 1.0
    percentiles: tuple[float, float] = (0.5, 99.5)


class Target(BaseModel):
    """The number that a regression predicts, as it is in the training part, in its own unit.

    The network learns (x - mean) / sd.

    Attributes:
        name: Its column.
        cases: That it was measured on.
        mean, sd: Of these (sd over n).
        low, high: Least and largest.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    cases: int
    mean: float
    sd: float
    low: float
    high: float

    @property
    def in_words(self) -> str:
        return (
            f"{self.cases} training cases with {self.name} {self.low:.4g} to {self.high:.4g}, mean {self.mean:.4g}, "
            f"standard deviation {self.sd:.4g}; learned as (x - mean) / standard deviation"
        )


class Coarse(BaseModel):
    """The coarse networks of a cascade (`medcli.preprocessing.plan_cascade`).

    Attributes:
        factors: How many times as far apart as in the prepared image their voxels are, per axis.
        patch, batch_size, stages, strides, width, cost: As of `Plan`.
    """

    model_config = ConfigDict(extra="forbid")
    factors: list[float]
    patch: list[int]
    batch_size: int
    stages: int
    strides: list[list[int]]
    width: int | None = None
    cost: dict[str, float] = {}


class Plan(BaseModel):
    """Decisions for one data set. Written as YAML, may be edited before training.

    Attributes:
        dimensions: 2 for pictures, 3 for volumes.
        classes: Class names in order. Segmentation: of the label ids 1, 2, ...; 0 is background and has no name here;
            with `regions` the names of these. Regression: the name of the target.
        labels: Segmentation with regions: names of the label ids 1, 2, ...
        regions: Segmentation: for every class its label ids, where classes overlap; empty: label i is class i - 1.
        label_ids: Segmentation: for each label the values in the label files that mean it (with several masks per case:
            ignored, mask i is label i). Empty: every value above zero is class 1. Detection from masks: alike.
        objects: Detection from masks: what is one object: a connected part of a class, or what has one value in
            a file. None: the annotation has boxes.
        ignore_label: Segmentation: the value in the label files of voxels that nobody labelled; None: all are.
        multi_label: Classification: several classes may apply to one case.
        clinical: Classification and regression: columns of the table that the network sees beside the image.
        target: Regression: what is predicted, and how it is scaled.
        channels: Channels of a prepared image.
        color: How pictures become channels: "grey", "rgb", or "as_is" for volumes and multi-channel input.
        reorient: Volumes are brought to the closest axis order and direction plane = inferior to superior,
            row = anterior to posterior, column = right to left (DICOM's usual axial view), and back for output.
        spacing: Target spacing in mm per axis; None: native.
        size: Target rows and columns of pictures (or planes, rows, columns); None: native.
        keep_aspect: Pad rather than stretch; padding is centred and has the value 0 after normalising.
        crop: Cut away the border of constant lowest value.
        contrast, clahe_clip, clahe_tiles, gamma: Contrast enhancement before normalising.
        intensity: One entry per channel.
        patch: Segmentation: patch size per axis. Detection: rows and columns of the tiles that the network sees; None:
            it sees whole pictures.
        overlap: Detection in tiles: pixels that neighbouring tiles share at prediction.
        batch_size: Images or patches per step.
        stages: Number of resolutions of the U-Net, or levels of the detector.
        width: U-Net: filters of the first stage where `model.width` is auto; None: by the kind of network.
        cost: Segmentation: what training is expected to take (`medcli.preprocessing.network_cost`): parameters, GFLOP
            of a patch forward, memory in GB, seconds of a step, and steps in `train.max_minutes`.
        strides: U-Net: stride per axis on entering each stage; the first is all ones. Whole images: of the residual
            network's stem, and then on entering each stage; empty: plans of earlier versions.
        planes: Segmentation of volumes by a 2D network: how many neighbouring planes it sees (odd; it answers for the
            middle one), also the first number of `patch`; None: the network has as many axes as the images.
        cascade: Segmentation: coarse networks look at the whole first, and what they say of every class is one more
            channel of what the network is given; None: it sees the image alone.
        coarser: Of a coarse network's own run: the image is prepared as all of the above says and then made coarser by
            these factors per axis; None: it is not.
        augmentations: Which changes augmentation may make; None: plans of earlier versions.
        mirrored: Axes that training mirrors where `train.flips` is auto; None: plans of earlier versions.
        oversampling: Segmentation: how many times as often the cases with a rare class are drawn, by its name.
        reasons: For every decision the rule and the numbers behind it.
    """

    model_config = ConfigDict(extra="forbid")
    task: Literal["classification", "regression", "detection", "segmentation"]
    dimensions: Literal[2, 3]
    classes: list[str]
    labels: list[str] = []
    regions: list[list[int]] = []
    label_ids: list[list[int]] = []
    objects: Literal["parts", "instances"] | None = None
    ignore_label: int | None = None
    multi_label: bool = False
    clinical: list[ClinicalColumn] = []
    target: Target | None = None
    channels: Count
    color: Literal["grey", "rgb", "as_is"]
    reorient: bool = False
    spacing: list[float] | None = None
    size: list[int] | None = None
    keep_aspect: bool = True
    crop: bool = False
    contrast: Literal["none", "clahe", "histogram", "gamma"] = "none"
    clahe_clip: float = 0.01
    clahe_tiles: int = 8
    gamma: float = 1.0
    intensity: list[Intensity]
    patch: list[Count] | None = None
    batch_size: Count
    stages: Count
    strides: list[list[Count]] = []
    overlap: int = 0
    planes: Count | None = None
    cascade: Coarse | None = None
    coarser: list[float] | None = None
    augmentations: list[str] | None = None
    mirrored: list[Literal["plane", "row", "column"]] | None = None
    width: Count | None = None
    cost: dict[str, float] = {}
    oversampling: dict[str, Annotated[float, Field(ge=0)]] = {}
    reasons: dict[str, str] = {}

    @model_validator(mode="after")
    def _fits_together(self) -> "Plan":
        """What a hand that edits a plan gets wrong most easily, told before a network is built of it."""
        if self.task != "segmentation":
            return self
        if self.regions and len(self.regions) != len(self.classes):
            raise ValueError(f"classes: expected {len(self.regions)} names, one for each of regions")
        if self.label_ids and len(self.label_ids) != len(self.label_names):
            names = "labels" if self.regions else "classes"
            raise ValueError(f"{names}: expected {len(self.label_ids)} names, one for each of label_ids")
        if len(self.intensity) != self.channels:
            raise ValueError(f"channels: expected {len(self.intensity)}, one for each entry of intensity")
        if unknown := set(self.oversampling) - set(self.classes):
            raise ValueError(f"oversampling: expected names of classes, got {', '.join(sorted(unknown))}")
        if self.strides and self.patch:
            steps = [math.prod(axis) for axis in zip(*self.strides, strict=False)]
            multiples = len(self.patch) == len(steps) and not any(
                n % step for n, step in zip(self.patch, steps, strict=False)
            )
            if not multiples:
                raise ValueError(
                    f"patch: expected {len(steps)} numbers, multiples of {' x '.join(map(str, steps))}, the product of "
                    "strides"
                )
        return self

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def whole_images(self) -> bool:
        """The network sees whole images and answers once for each; no arrays of labels are prepared."""
        return self.task in WHOLE_IMAGES

    @property
    def input_channels(self) -> int:
        """Of what the network is given: the image's, one for each number of the clinical columns, and in a cascade one
        for each class."""
        return self.channels + width(self.clinical) + (self.num_classes if self.cascade else 0)

    @property
    def grid(self) -> list[float] | None:
        """mm per axis between the voxels of a prepared image; None: as in the image itself."""
        if self.spacing is None or self.coarser is None:
            return self.spacing
        return [step * factor for step, factor in zip(self.spacing, self.coarser, strict=True)]

    @property
    def label_names(self) -> list[str]:
        """Of the label ids 1, 2, ..."""
        return self.labels if self.regions else self.classes

    @property
    def num_outputs(self) -> int:
        """Segmentation: logits of a voxel: background and classes, or one for each region."""
        return self.num_classes if self.regions else self.num_classes + 1

    @property
    def single_objects(self) -> bool:
        """Segmentation that tells single objects apart."""
        return self.task == "segmentation" and self.objects is not None

    def members(self, index: int) -> list[int]:
        """Segmentation: label ids of the class of this index."""
        return self.regions[index] if self.regions else [index + 1]

    def of_coarse(self) -> "Plan":
        """Of a cascade: the plan of its coarse networks, each a run by itself."""
        assert self.cascade is not None
        network = self.cascade.model_dump(exclude={"factors"})
        return self.model_copy(update=network | {"coarser": self.cascade.factors, "cascade": None})


def save_plan(plan: Plan, path: Path) -> None:
    write_text(path, plan_yaml(plan))


def plan_yaml(plan: Plan) -> str:
    import io

    from ruamel.yaml import YAML

    stream = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)  # its settings are untyped
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # keep the order of the fields
    yaml.width = 120
    yaml.dump(plain(plan.model_dump()), stream)
    return stream.getvalue()


def load_plan(path: Path) -> Plan:
    """Raises RunError when the file is missing or does not hold a plan."""
    from pydantic import ValidationError
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return Plan.model_validate(content)
    except FileNotFoundError:
        raise RunError(f"{path}: the plan is missing; run `medcli preprocess` again.") from None
    except ValidationError as error:
        raise RunError(f"{path}: {_told(error)}; correct it, or run `medcli preprocess` again.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise RunError(f"{path}: not a plan of medcli ({first}); run `medcli preprocess` again.") from None


def _told(error: "ValidationError") -> str:
    """The first fault: key, what was expected, what was found."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(map(str, fault["loc"]))
    text = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {text}, got {fault['input']!r:.60}" if key else text
