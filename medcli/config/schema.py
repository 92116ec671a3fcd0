"""Every setting of medcli: its name, type, default, range, unit and meaning. There is no other place for them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Auto = Literal["auto"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Aim = Annotated[dict[Literal["sensitivity", "specificity", "cost_fn"], Positive], Field(min_length=1, max_length=1)]
Goal = Annotated[dict[Literal["f1", "false_positives", "score"], Literal["each", "all"] | Positive], Field(min_length=1, max_length=1)]

WINDOWS = {
    "brain": (0.0, 80.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "soft_tissue": (-160.0, 240.0),
    "liver": (-45.0, 105.0),
    "mediastinum": (-125.0, 225.0),
}
"""Named CT windows as (low, high) in HU."""
WHOLE_IMAGES = ("classification", "regression")
"""Tasks whose networks see whole images and answer once for each."""
LOWEST_SCORE = 0.01
"""Detection: boxes below this are noise."""


class Section(BaseModel):
    """A section of the YAML; unknown keys are refused and wrong types are not silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Columns(Section):
    """Which columns of `data.table` hold what; a column that is not named is ignored."""

    case: str | None = Field(None, description="Column with the case's name; default: the stem of the image's path.")
    image: str | list[str] = Field("auto", description="Column(s) with the image's path, one per channel; `auto` tries image, file, path, filename, image_path, image_id.")
    label: str | list[str] = Field("auto", description="Column with the class (several, separated by `|`, when multi-label; `No Finding` is none of data.classes), or one 0/1 column per class; `auto` tries label, class, diagnosis, target, category.")
    target: str | None = Field(None, description="Regression: column with the number to predict, such as age; empty cells leave their case out. docs/regression.md.")
    mask: str | None = Field(None, description="Column with the path of the segmentation mask.")
    patient: str | None = Field(None, description="Column with the patient; default: tries patient, patient_id, PatientID, subject, subject_id.")
    split: str | None = Field(None, description="Column with train, val or test. Not used unless named, since published splits may share patients.")
    groups: list[str] = Field([], description="Columns to report by, for example [sex, age, site].")


class Split(Section):
    """How cases are divided; patients are never divided."""

    val: Fraction = Field(0.2, description="Share of the patients used for validation.")
    test: Fraction = Field(0.0, description="Share of the patients kept for one last test.")
    folds: Annotated[int, Field(ge=0, le=50)] = Field(0, description="k for k-fold cross-validation, which `medcli train --folds` trains as a whole; 0: one split.")
    fold: Annotated[int, Field(ge=0)] = Field(0, description="Which fold validates (0 to folds - 1).")
    file: Path | None = Field(None, description="CSV with columns case (or patient) and split; its split is used as it is.")
    stratify: bool = Field(True, description="Keep the classes (regression: fifths of the target) in like proportion in every part.")


class Data(Section):
    """Where the images and labels are."""

    root: Path = Field(Path("."), description="Folder that the other paths of this section start from.")
    format: Literal["auto", "folders", "table", "npz", "cifar", "voc", "coco", "yolo", "masks", "nnunet", "images"] = Field(
        "auto",
        description="Layout: class folders; a CSV/TSV table; a .npz as of MedMNIST or Keras; CIFAR-10's Python batches; Pascal VOC XML; COCO JSON; YOLO text; masks as files beside images; nnU-Net's dataset.json; images: without labels, all in data.images (a folder), for `medcli pretrain`. `auto` recognises it from the other keys and the folder.",
    )
    images: str | dict[str, str] | None = Field(
        None,
        description="Images: a folder, or a pattern with `{case}` such as `imagesTr/{case}.nii.gz`; a mapping `channel: pattern` reads several channels. For npz: the file.",
    )
    labels: str | dict[str, str] | None = Field(
        None,
        description="Labels: a pattern with `{case}` for masks (NIfTI, PNG, DICOM SEG, RTSTRUCT; a mapping `class: pattern` for one binary file per class; detection: with `*` one file per object), the folder of VOC XML or YOLO text, or the COCO JSON.",
    )
    table: str | None = Field(None, description="CSV or TSV with one line per case: image, label, patient, groups; joined by case or patient when labels come from elsewhere.")
    columns: Columns = Field(Columns(), description="Columns of the table.")
    classes: list[str] | dict[str, int | list[int]] | None = Field(
        None,
        description="Class names in order; default: those found, sorted. Segmentation: names of label ids 1, 2, ... in order, or a mapping from name to the id or ids in the file.",
    )
    clinical: list[str] | dict[str, Literal["auto", "numeric", "categorical"]] = Field([], description="Classification and regression: columns of the table that the network sees beside the image, such as [age, sex], or {age: numeric, sex: categorical}. Numbers are standardised, categories get one input per level; missing values are allowed. docs/clinical.md.")
    uncertain: Literal["missing", "present", "absent"] = Field("missing", description="Classification with one 0/1 column per class: what -1 means (CheXpert's uncertain). missing: nobody knows, so this label of this case counts neither in training nor in evaluation.")
    unlabelled: Literal["missing", "absent"] = Field("missing", description="Classification with one 0/1 column per class: what an empty cell or NaN means. absent: what is not mentioned is not there, as in labels from reports.")
    regions: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1)] | None = Field(
        None,
        description="Segmentation: regions that may overlap, each a list of classes, from the largest to the smallest, for example {whole: [edema, core, enhancing], core: [core, enhancing], enhancing: [enhancing]}. They, not the classes, are learned (one sigmoid each) and measured. A label image is written in their order, later over earlier.",
    )
    labels_are: Literal["auto", "ids", "binary", "instances"] = Field(
        "auto", description="Masks: ids = value is the class; binary = anything above zero is the one class (0/255, 0/1); instances = every object has its own id, all of one class (with one file per class, a mapping, of that class), or with `*` in the pattern its own file. Detection draws a box around every connected part (ids, binary) or id (instances)."
    )
    objects: Literal["auto", "on", "off"] = Field("auto", description="Segmentation: learn, predict and count single objects, each with a number of its own, and not only the class of every voxel. auto: where the masks number objects; on: of other masks the connected parts of every label.")
    ignore_label: Annotated[int, Field(ge=0)] | None = Field(None, description="Segmentation: value in the masks of voxels that nobody labelled: they count neither in training nor in evaluation, and patches are drawn where labels are. 0 is allowed where the background has an id of its own (one that data.classes does not name).")
    patient: str | None = Field(None, description="Regular expression with one group that takes the patient from the case's name, for example `^(\\d+)` .")
    lists: dict[Literal["train", "val", "test"], str] | None = Field(None, description="Text files that list the cases of each part (VOC's ImageSets).")
    include: str | None = Field(None, description="Only cases whose name matches this regular expression.")
    exclude: str | None = Field(None, description="No cases whose name matches this regular expression.")
    planes: Annotated[int, Field(ge=0)] = Field(0, description="Detection in volumes: how many neighbouring planes are the channels of one picture (odd, say 3); boxes of neighbouring planes are linked to boxes of the volume. 0: the images are pictures.")
    split: Split = Field(Split(), description="How cases are divided.")


class Preprocess(Section):
    """What is done to every image, in training and in prediction alike."""

    spacing: Literal["auto", "native"] | list[Positive] = Field("auto", description="Target spacing in mm, in the order of the axes (plane, row, column) or (row, column). auto: volumes to the median spacing (the 10th percentile on a strongly anisotropic axis), pictures stay native.")
    size: Literal["auto", "native"] | list[Count] = Field("auto", description="Rows and columns that pictures are brought to for classification, regression and detection. auto: from the median size, at most 224 or, for detection, 640. Segmentation stays native unless a size is given.")
    keep_aspect: bool = Field(True, description="Pad to the target size rather than stretch.")
    crop: Literal["auto", "none", "foreground"] = Field("auto", description="Cut away the empty border. auto: only for volumes with a zero border.")
    color: Literal["auto", "grey", "rgb"] = Field("auto", description="auto: RGB where any image differs between its colour channels, else grey.")
    window: str | list[float] | None = Field(None, description="CT window: a name (brain, lung, bone, soft_tissue, liver, mediastinum) or [low, high] in HU; applied before normalising.")
    normalize: Literal["auto", "zscore", "percentile", "minmax", "fixed", "none"] = Field("auto", description="zscore: per image and channel; percentile: the percentiles to 0..1; minmax: to 0..1; fixed: (x - mean) / std with one mean and std for the data set. auto: CT fixed after clipping to the foreground's 0.5 and 99.5 percentiles, other volumes zscore, pictures fixed.")
    mean: list[float] | None = Field(None, description="For fixed: mean per channel; default: measured on the training part.")
    std: list[Positive] | None = Field(None, description="For fixed: standard deviation per channel; default: measured on the training part.")
    percentiles: Annotated[list[float], Field(min_length=2, max_length=2)] = Field([0.5, 99.5], description="Percentiles for normalize: percentile.")
    contrast: Literal["none", "clahe", "histogram", "gamma"] = Field("none", description="Contrast enhancement before normalising: CLAHE, histogram equalisation or gamma.")
    clahe_clip: Annotated[float, Field(gt=0, le=1)] = Field(0.01, description="CLAHE clip limit (0..1).")
    clahe_tiles: Count = Field(8, description="CLAHE tiles per axis.")
    gamma: Positive = Field(1.0, description="Exponent for contrast: gamma, on intensities scaled to 0..1.")
    workers: Auto | Count = Field("auto", description="Processes that prepare cases; auto: one per core.")
    max_memory_gb: Positive = Field(4.0, description="Memory that the workers together may take; fewer run when cases are large.")


class Model(Section):
    """The network."""

    name: str = Field("auto", description="auto (resnet18, yolo or unet by task), cnn, resnet18, yolo, unet, a network of keras.applications such as DenseNet121, features: a classifier (or regression) of classic features, the baseline to beat, or autoencoder: learns normal images only and scores what is unlike them (docs/unsupervised.md).")
    classifier: Literal["logistic", "boosting"] = Field("logistic", description="features: logistic regression (task regression: ridge regression) or gradient-boosted trees; how strongly they are held back is chosen by cross-validation within the training part, by patient.")
    weights: str = Field("none", description="none, imagenet (keras.applications only), or the path of a run folder or model.keras to start from.")
    width: Auto | Count = Field("auto", description="Filters of the first stage (cnn, resnet18, unet); auto: 32, for a U-Net on volumes 16, or what train.memory_gb and train.max_minutes allow.")
    stages: Auto | Count = Field("auto", description="Number of resolutions (unet) or stages (cnn, resnet18); the detector: 3 (strides 8, 16 and 32 pixels) or 4 (also 4, for small objects; about twice the time). auto: for the detector 4 when at least a quarter of the boxes are smaller than 16 pixels in its input.")
    size: Literal["nano", "small", "medium", "large"] = Field("nano", description="Width and depth of the detector.")
    one_class: bool = Field(False, description="Detection: all classes are learned, found and measured as one, `object`; for finding without telling apart.")
    activation: Literal["relu", "leaky_relu", "silu", "gelu", "elu", "tanh", "sigmoid"] = Field("relu", description="Activation of the hidden layers (cnn, resnet18, unet).")
    norm: Literal["batch", "instance", "none"] = Field("batch", description="Normalisation layer.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Dropout before the last layer.")
    encoder: Literal["plain", "residual"] = Field("plain", description="U-Net: two convolutions per resolution, or residual blocks, more of them the coarser (1, 3, 4, 6, 6, ...) with a lighter decoder.")
    members: Annotated[int, Field(ge=0, le=32)] = Field(1, description="Classification and regression: networks trained side by side, each by its own loss; their logits are averaged. Time and memory grow with their number. 0: the descriptors or visual words alone, fitted at once by logistic or ridge regression.")
    descriptors: bool = Field(False, description="Classification and regression of pictures: one more member, linear in measures of the dark object in the middle: size, outline, asymmetry, colours, texture (dermoscopy).")
    visual_words: Annotated[int, Field(ge=0, le=4096)] = Field(0, description="Classification and regression of pictures: one more member, linear in how well so many patches, learned from the training images, fit the dark object in the middle and its border (dermoscopy). 400 do well; 0: none.")
    inputs: Literal["both", "image", "table"] = Field("both", description="With data.clinical: what the network sees, the image, the columns of the table, or both; one prepared folder serves all three.")
    planes: Literal["auto", "all"] | Count = Field("auto", description="Segmentation of volumes: all: a 3D network; an odd number k: a 2D network that sees k neighbouring planes and answers for the middle one (1: plain 2D, 3 or 5: 2.5D), with patches of rows and columns. auto: all, but 3 where planes are more than 3 times as far apart as pixels and there are fewer than a third as many of them as rows or columns.")
    cascade: Literal["auto", "on", "off"] = Field("auto", description="Segmentation: on: two coarse networks, each trained on half of the training patients, see most of an image at once and answer first; the network of full resolution sees their answers beside the image. They take two fifths of train.max_minutes. auto: on for volumes of which one patch sees less than a quarter of the median, where there are at least 10 training cases and time for at least 1,000 steps of each. docs/cascade.md.")
    deep_supervision: bool = Field(True, description="U-Net: also learn from the lower resolutions.")

    @property
    def linear_alone(self) -> bool:
        """Whether all members are linear in features of the image that do not change."""
        return self.members == 0 and self.inputs != "table"

    @property
    def fitted_at_once(self) -> str:
        """The setting because of which nothing is learned in steps; empty: there is none."""
        return "model.name: features" if self.name == "features" else "model.members: 0" if self.linear_alone else ""


class Fairness(Section):
    """Learning for the worst group, not only for the average; see docs/fairness.md."""

    columns: list[str] = Field([], description="Columns of data.columns.groups that divide the cases into groups; several: their intersections.")
    method: Literal["none", "sampling", "reweighting", "group_dro"] = Field("none", description="sampling: every group is drawn equally often; reweighting: cases count so much that group and class are independent (classification); group_dro: the loss of the group that is worst just now counts most, groups drawn as for sampling (classification).")
    select: Literal["average", "worst_group"] = Field("average", description="Which weights are kept: those best on average, or those whose worst group is best on the validation part.")
    by_class: bool = Field(True, description="Classification with exclusive classes, sampling and group_dro: the groups are divided by class as well.")
    patients: Count = Field(10, description="Groups with fewer patients are left alone: drawn and weighted as without a method, not counted for select. A group's class needs half as many.")
    dro_step: Positive = Field(0.01, description="group_dro: how fast the weights follow the losses (step of the exponentiated gradient).")
    dro_adjustment: Annotated[float, Field(ge=0)] = Field(1.0, description="group_dro: C of the group adjustment C / sqrt(patients of the group), which asks more of small groups, since they are memorised first and generalise worse; 0: none.")


class Train(Section):
    """How the network learns."""

    learn_from: Literal["labels", "images"] = Field("labels", description="labels, or images alone (self-supervised, a start for later training: what `medcli pretrain` sets); see docs/unsupervised.md.")
    loss: Literal["auto", "cross_entropy", "focal", "mse", "mae", "huber", "ordinal", "dice", "dice_cross_entropy", "tversky_cross_entropy", "boundary_cross_entropy", "centreline_dice_cross_entropy"] = Field("auto", description="auto: cross_entropy, huber (regression), dice_cross_entropy (segmentation), box losses (detection; fixed). mae, huber: regression only, which also has mse; on the standardised target. ordinal: classification of grades, data.classes from the lowest to the highest: the further off, the dearer. Segmentation only: dice and what follows; tversky_cross_entropy counts a missed voxel more than a false one, boundary_cross_entropy the voxels beside another label four times, centreline_dice_cross_entropy whether vessels are whole.")
    epochs: Auto | Count = Field("auto", description="Passes over the training cases; auto: by the number of cases.")
    steps_per_epoch: Auto | Count = Field("auto", description="Batches per epoch; auto: every case once (segmentation: as many patches as cover the cases).")
    max_minutes: Positive | None = Field(None, description="Time budget in minutes; the schedule is shortened so that it ends in time. Segmentation: batch and width, where they are auto, are lowered if else hardly a step would fit.")
    batch_size: Auto | Count = Field("auto", description="Images or patches per step.")
    patch: Auto | list[Count] = Field("auto", description="Size of what the network sees at once, in the order of the axes. Segmentation: of the patches. Detection: rows and columns of tiles of large pictures, multiples of 32; auto: whole pictures, but tiles of 512 where pictures are more than 1.5 times as long as the input and the median box would be smaller than 10 pixels in it.")
    memory_gb: Auto | Positive = Field("auto", description="Segmentation: memory in GB that training may take. auto: patch, batch and width as usual, lowered where they would take more than 70 % of the machine's memory (90 % of the GPU's); a number: the largest that fit.")
    foreground: Fraction = Field(0.5, description="Segmentation: share of the patches that are centred on a labelled voxel. Detection in tiles: share of the tiles that are laid around a box.")
    rare_below: Auto | Fraction = Field("auto", description="Segmentation: a case with a class that a smaller share of the training cases shows is drawn more often, root(this share / the class's share) times; auto: 0.25; 0: every case is drawn once per epoch.")
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="sgd: with Nesterov momentum 0.99 for segmentation, 0.9 otherwise.")
    learning_rate: Auto | Positive = Field("auto", description="Peak learning rate; auto: 1e-3 (adam, adamw), 1e-2 (sgd).")
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-4, description="Decoupled weight decay (kernels only).")
    schedule: Literal["cosine", "polynomial", "constant"] = Field("cosine", description="How the learning rate falls after the warm-up.")
    warmup: Fraction = Field(0.03, description="Share of the steps in which the learning rate rises.")
    clip_norm: Positive | None = Field(12.0, description="Largest global norm of the gradient.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="Decay of the moving average of the weights that validation and prediction use; 0: none.")
    swa: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Stochastic weight averaging: share of the epochs at the end whose weights are averaged, with the learning rate held where the schedule is then (0.25 is usual); statistics of batch normalisation are taken anew. 0: none.")
    freeze_epochs: Auto | Annotated[int, Field(ge=0)] = Field("auto", description="With model.weights: epochs in the beginning in which only the new layers learn. auto: classification and regression a tenth of the epochs, else 0; 0 after medcli pretrain.")
    backbone_rate: Auto | Annotated[float, Field(gt=0, le=1)] = Field("auto", description="With model.weights: learning rate of the first layer as a share of that of the new ones; it rises geometrically from layer to layer. auto: classification and regression 0.1, else 1; 1 after medcli pretrain.")
    class_weights: Literal["auto", "none", "balanced"] | list[Positive] = Field("auto", description="auto: balanced when the rarest class has less than a third of its even share.")
    sampling: Literal["natural", "balanced"] = Field("natural", description="Classification: balanced: every class is drawn equally often (within a class every patient); several labels per case: the rarer its rarest label, the more often.")
    mix: Literal["none", "mixup", "cutmix", "both"] = Field("none", description="Classification, and regression with mixup: two samples made one, their targets alike. mixup: a weighted mean; cutmix: a rectangle of the one in the other; both: half of the batches each.")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Share of the target spread over all classes.")
    augment: Literal["auto", "none", "light", "medium", "strong"] = Field("auto", description="Strength of the augmentation; auto: medium.")
    augmentations: Auto | list[Literal["rotate", "scale", "tilt", "elastic", "bias_field", "blur", "low_resolution", "noise", "brightness", "contrast", "gamma", "inverted_gamma", "mosaic", "mixup", "paste", "shift", "erase"]] = Field("auto", description="Which changes augmentation may make, as often and as far as `augment` says. Detection: mosaic (four cases in one), scale, brightness, contrast, mixup (another case shines through), paste (objects of other cases put in: their outlines where there are masks, else rectangles with soft borders); auto: paste where a class or objects are rare, mixup for medium and large. Segmentation, classification and regression: each as often and as far as `augment` says (segmentation: tilt: volumes also out of their planes; elastic: only with strong; the others: shift; erase: a rectangle is blanked). auto: by the kind of image: gamma not for CT, bias_field for MR, tilt for nearly isotropic volumes. docs/augmentation.md.")
    flips: Auto | list[Literal["plane", "row", "column"]] = Field("auto", description="Axes that may be mirrored in training; auto: as planned (left and right of volumes of known orientation, of radiographs and of whole grey pictures; all axes of colour pictures and of patches of other images; never left and right where a class is named for a side).")
    keep: Literal["best", "last"] = Field("best", description="Which weights the run keeps: those of the best validation, or the last. With few validation cases the best is largely the luckiest, and its validation result too good; the last are not chosen by them.")
    early_stopping: int | None = Field(None, description="Stop after so many validations without improvement; none: never. Needs keep: best.")
    validate_every: Auto | Count = Field("auto", description="Epochs between validations; auto: about 20 validations in all.")
    mixed_precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: bfloat16 on CPUs with AMX or AVX512-BF16 and on Ampere and later GPUs, float16 on older GPUs, else float32.")
    xla: Literal["auto", "on", "off"] = Field("auto", description="on: compile the training step with XLA, on one GPU; compiling took half a minute and more there, what it saves in long trainings was not measured; far slower on a CPU. auto: off.")
    devices: Auto | Count = Field("auto", description="GPUs to use; auto: all that are seen.")
    cache_gb: Annotated[float, Field(ge=0)] = Field(1.0, description="Keep prepared cases in memory when they take less than this.")
    tensorboard: bool = Field(True, description="Write logs for TensorBoard.")
    fairness: Fairness = Field(Fairness(), description="What is done for the worst group.")


class GroupThresholds(Section):
    """Classification: a threshold for each group, learned on the validation part."""

    columns: list[str] = Field([], description="Columns of data.columns.groups that divide the cases; several: their intersections; none: one threshold for all.")
    aim: Literal["own", "equal_opportunity", "equalized_odds"] = Field("own", description="own: evaluate.threshold, in each group by itself; equal_opportunity: the sensitivity that the common threshold has over all, in every group; equalized_odds: as near as can be to its sensitivity and specificity.")
    patients: Count = Field(10, description="Groups with fewer patients on the validation part, or with fewer than half as many with or without the class, keep the common threshold.")


class Evaluate(Section):
    """What is measured."""

    split: Literal["auto", "train", "val", "test", "all"] = Field("auto", description="Which part; auto: test if there is one, else val.")
    tolerance_mm: Positive = Field(2.0, description="Tolerance of the normalised surface Dice in mm (pixels where the spacing is unknown).")
    centreline: bool = Field(False, description="Segmentation: also measure the centreline Dice (clDice), for vessels and airways.")
    iou_threshold: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="Overlap at which a detection counts as a hit in FROC and the confusion matrix.")
    positive: str | None = Field(None, description="Binary classification: the positive class; default: the last one.")
    threshold: Literal["youden"] | Fraction | Aim = Field("youden", description="Classification: from which probability a class is called present. youden: largest sensitivity + specificity; {sensitivity: 0.95} or {specificity: 0.95}: at least this, and the other as large as possible; {cost_fn: 5}: a missed case costs five false alarms. Chosen on the validation part, reported on the evaluated one; a number is taken as it is.")
    prevalence: Fraction | dict[str, Fraction] | None = Field(None, description="Classification: share of positive cases where the model will be used (several classes: {class: share}); predictive values are given for it.")
    coverage: Annotated[float, Field(gt=0, lt=1)] = Field(0.9, description="Classification: how often the set of labels shall hold the true one; one without exactly one label is referred.")
    sets: Literal["lac", "aps", "raps"] = Field("lac", description="Score of the conformal sets. lac: smallest sets, some of them empty; aps, raps: never empty, larger for harder cases, and cover more than asked for.")
    sets_per_class: bool = Field(False, description="The coverage holds for every class by itself; the sets are larger.")
    miss_rate: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="Segmentation: share of a label's voxels that may lie outside of the outer mask, mean over patients who have the label. Detection: share of an image's objects of a class that may be missing among the recall-controlled boxes. The thresholds come from the validation part (conformal risk control).")
    unusual: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="Refer a case whose features are as unlike the training cases, or whose expected quality is as low, as this share of the validation cases at most. It is also the share of usual cases that are referred needlessly, for each of the two reasons; less than 1 / (validation patients + 1) refers none.")
    least_quality: Auto | Fraction = Field("auto", description="Segmentation and detection: refer a case whose expected Dice or F1 is below this. auto: by `unusual`.")
    group_patients: Count = Field(10, description="Groups (sex, age, site, ...) with fewer patients get no numbers; bands of age are joined until they have as many. Classification: also half as many with and half as many without the class.")
    group_thresholds: GroupThresholds = Field(GroupThresholds(), description="Classification: a threshold for each group.")
    robustness: Literal["auto", "off", "full"] | Count = Field("auto", description="On how many cases the effect of noise, blur, motion and other corruptions of the image is measured, at five strengths. auto: as many as fit into 30 s, or 30 % of the time of the prediction if that is more; full: all; a number: so many.")
    corruptions: Auto | list[Literal["noise", "blur", "motion", "contrast", "brightness", "resolution", "bias_field", "jpeg", "rotation"]] = Field("auto", description="Which corruptions. auto: those that make sense for the kind of image.")
    pictures: Annotated[int, Field(ge=0)] = Field(6, description="How many of the worst and of the best cases are drawn.")
    explained: Annotated[int, Field(ge=0)] = Field(3, description="How many of the worst cases get a map of the evidence with its check, as far as 20 s reach.")


class Predict(Section):
    """How predictions are made."""

    batch_size: Count = Field(8, description="Images or patches per step.")
    overlap: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="Segmentation: overlap of neighbouring windows. (Tiles of a detector overlap as the plan says, by the size of the boxes.)")
    flips: bool = Field(False, description="Average over inputs mirrored along the axes that training mirrors (test-time augmentation); detection: boxes of the images are fused (weighted box fusion).")
    views: Annotated[int, Field(ge=0, le=64)] = Field(0, description="Classification and regression: average also over so many slightly turned, zoomed and shifted views of the image, the same ones for every image.")
    score_threshold: Auto | Fraction | Goal = Field(LOWEST_SCORE, description="Detection: which boxes are written. A number: all from that score on, as average precision needs them, those that count as found being marked. auto, or a goal: only these. {f1: each}, which is auto: from the score with the best F1 of every class on; {f1: all}: one score for all classes, with the best mean of their F1; {false_positives: 0.5}: one score with at most so many false boxes per image; all chosen on the validation part. {score: 0.4}: from this score on. With a number, {f1: each} says what counts as found.")
    nms: Literal["hard", "soft"] = Field("hard", description="Detection: what becomes of boxes that overlap a better one. hard: dropped above nms_iou; soft: they stay with a lower score (Gaussian, Bodla et al. 2017), which keeps objects that overlap in truth.")
    nms_iou: Fraction = Field(0.6, description="Detection: of two boxes that overlap more than this the weaker is dropped; with flips, boxes of the mirrored images that overlap more are one object.")
    agnostic: bool = Field(False, description="Detection: boxes of different classes suppress each other, so that an object gets one class only.")
    max_detections: Count = Field(300, description="Detection: most boxes per image (of a picture in tiles: per tile).")
    calibrate: Literal["auto", "none", "temperature", "temperature_bias", "isotonic"] = Field("auto", description="Classification: how probabilities are scaled, learned from the validation part. temperature leaves decisions as they are; temperature_bias also moves the balance of the classes; isotonic: any rising steps. auto: the best there by cross-validated log loss; isotonic must be clearly better.")
    gate: bool = Field(True, description="Compare every input with the training images (modality, colours, spacing, size, values) and its features with theirs, and refer what is unlike, in decisions.csv. The case is predicted all the same.")
    outer: bool = Field(False, description="Segmentation: also write outer masks, which hold all but the share `evaluate.miss_rate` of each label (CASE_outer; with several labels CASE_outer_LABEL).")
    overlays: bool = Field(False, description="Write pictures with the prediction drawn in.")
    save_probabilities: bool = Field(False, description="Segmentation: write the probabilities as well.")
    region_masks: bool = Field(False, description="Segmentation with data.regions: also write a mask for every region (CASE_region_NAME); where a label image cannot tell them that is done anyway.")
    postprocess: Literal["auto", "none", "largest"] = Field("auto", description="Segmentation: what is done to the objects of each class. auto: what the run chose on its validation part (nothing, only the largest object, objects from a size on, or holes filled); largest: only the largest object of every class.")
    skip_empty: Literal["auto", "on", "off"] = Field("auto", description="Segmentation: do not look at windows that hold nothing but air or padding; they are background. auto: in volumes, where such voxels hold the lowest value to the bit (padding, a border of zeros, air below the CT window) or lie outside of the body in CT; on: in pictures too.")
    uncertainty: bool = Field(False, description="Segmentation: write maps of the entropy in bits (CASE_uncertainty) and of how far windows and mirrored images disagree (CASE_disagreement).")

    @property
    def lowest_score(self) -> float:
        """Of the boxes that a detector is asked for; those of a goal are chosen among them."""
        asked = self.score_threshold
        return LOWEST_SCORE if isinstance(asked, str | dict) else asked

    @property
    def writes_found_only(self) -> bool:
        """Detection: a goal decides which boxes are written, not a plain number."""
        return isinstance(self.score_threshold, str | dict)


    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, values: Any) -> Any:
        """Runs of before `postprocess` say `largest_component`."""
        if not isinstance(values, dict) or "largest_component" not in values:
            return values
        values = dict(values)
        largest = values.pop("largest_component")
        return {"postprocess": "largest", **values} if largest is True else values


class Features(Section):
    """Classic features (`medcli features`, and `model.name: features`)."""

    families: Auto | list[Literal["intensity", "histogram", "shape", "shape2d", "glcm", "glrlm", "lbp", "gabor", "color", "hog", "edges", "corners"]] = Field("auto", description="Which ones; auto: all that fit (shape: regions of volumes; shape2d: of pictures; color: colour pictures).")
    regions: Literal["auto", "whole", "labels"] = Field("auto", description="Over the whole image, or within each label of data.labels. auto: labels where the cases have masks.")
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(None, description="[low, high]: only values from low to high count, say [-1000, 400] HU (IBSI: re-segmentation).")
    spacing: Literal["native"] | list[Positive] = Field("native", description="Resample to this spacing in mm first, in the order of the axes (values linearly, masks from one half on). Texture compares voxels, not mm: give one where spacings differ.")
    discretise: Literal["fixed_number", "fixed_width"] = Field("fixed_number", description="Grey levels for texture and histogram: features.bins over the region's range, or bins of width features.bin_width (for calibrated units, HU or SUV).")
    bins: Annotated[int, Field(ge=2, le=1024)] = Field(32, description="Number of grey levels for fixed_number.")
    bin_width: Positive = Field(25.0, description="Width of a bin for fixed_width, in units of the image.")
    bin_start: float | None = Field(None, description="Where the first bin begins for fixed_width; default: the lower end of features.range, else the region's smallest value.")
    aggregation: Literal["auto", "2d_averaged", "2d_slice_merged", "2.5d_direction_merged", "2.5d_merged", "3d_averaged", "3d_merged"] = Field("auto", description="How texture matrices of planes and directions are joined (IBSI 3.6.1). auto: pictures 2d_slice_merged; volumes 3d_merged, or 2.5d_merged where planes lie at least twice as far apart as pixels.")
    distance: Count = Field(1, description="Distance of neighbours for the co-occurrence matrix, in voxels.")


class Card(Section):
    """What only people know about the model; it goes into the model card as it is. Nothing is invented: what is not given is "not stated"."""

    intended_use: str | None = Field(None, description="What the model is meant for: the question, the setting, the decision that it supports.")
    users: str | None = Field(None, description="Who is meant to use it.")
    out_of_scope: str | None = Field(None, description="What it must not be used for.")
    images: str | None = Field(None, description="What the images are, for example: frontal chest radiographs of adults.")
    factors: str | None = Field(None, description="Groups, devices and circumstances that may matter, beyond the columns that are measured.")
    training_data: str | None = Field(None, description="Where the training data come from, how they were labelled.")
    evaluation_data: str | None = Field(None, description="The same of the data that it is tested on.")
    data_licence: str | None = Field(None, description="Licence of the data.")
    ethics: str | None = Field(None, description="Ethical considerations: consent, harms, who may be left out.")
    caveats: str | None = Field(None, description="Caveats and recommendations beyond the report's own warnings.")
    developers: str | None = Field(None, description="Who made the model.")
    contact: str | None = Field(None, description="Where to ask or to report a fault.")
    licence: str | None = Field(None, description="Licence of the model.")
    version: str | None = Field(None, description="Version and date of the model.")
    citation: str | None = Field(None, description="Paper or source to cite.")


class Explain(Section):
    """How single answers are explained."""

    methods: Auto | Annotated[list[Literal["gradcam", "gradcam++", "layercam", "ig", "occlusion"]], Field(min_length=1)] = Field("auto", description="Class activation maps (gradcam, gradcam++, layercam), integrated gradients (ig), occlusion. auto: gradcam, ig and occlusion for classification and regression, layercam and ig otherwise.")
    layer: str = Field("auto", description="Layer that the class activation maps look at; auto: the last one whose shortest side has at least 7 positions (a detector: the backbone's at the stride of the box; a U-Net: of the encoder).")
    baseline: Literal["auto", "blur", "mean"] = Field("auto", description="What stands for no evidence: the image strongly blurred, or its mean. auto: whichever lowers the probability more.")
    top: Count = Field(1, description="How many answers of an image are explained: classes, boxes or regions, the strongest first.")
    windows: Count = Field(1, description="Segmentation: most patches of a region that are explained, the one with most of it first, which is also the one that is checked.")
    steps: Count = Field(32, description="Integrated gradients: points between baseline and image; doubled up to four times while the sum is off by more than 5 %.")
    check: bool = Field(True, description="Test every map for faithfulness.")
    random_maps: Annotated[int, Field(ge=19)] = Field(19, description="Misplaced maps that deletion and insertion are compared with; 19 allow p = 0.05.")


class Config(Section):
    """One job: the data, what is done to them, the network, its training, and how it is judged and used."""

    task: Literal["classification", "regression", "detection", "segmentation"] = Field(description="What the network learns.")
    name: str | None = Field(None, description="Name of the job; default: the config's file name.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Every random choice follows from this.")
    deterministic: bool = Field(False, description="Two runs give equal weights to the bit on one machine; slower.")
    prepared: Path | None = Field(None, description="Prepared folder; default: prepared/<name> beside the config.")
    run: Path | None = Field(None, description="Run folder; default: runs/<name> beside the config.")
    data: Data = Field(Data(), description="Where the images and labels are.")
    preprocess: Preprocess = Field(Preprocess(), description="What is done to every image.")
    model: Model = Field(Model(), description="The network.")
    train: Train = Field(Train(), description="How it learns.")
    evaluate: Evaluate = Field(Evaluate(), description="What is measured.")
    predict: Predict = Field(Predict(), description="How predictions are made.")
    features: Features = Field(Features(), description="Classic features.")
    card: Card = Field(Card(), description="Text for the model card.")
    explain: Explain = Field(Explain(), description="How single answers are explained.")


def defaults() -> dict[str, Any]:
    """All settings but `task`, with their defaults, as plain values."""
    return {name: field.get_default() for name, field in Config.model_fields.items() if name != "task"}
