"""What must hold between settings, beyond the type and range of each."""

from collections.abc import Iterator

from medcli.config.document import Key
from medcli.config.schema import WHOLE_IMAGES, WINDOWS, Config, Model


def broken_rules(config: Config) -> Iterator[tuple[Key, str]]:
    """The key and the reason for every rule that the config breaks."""
    yield from _names(config)
    yield from _splits(config)
    yield from _intensity(config)
    yield from _aims(config)
    yield from _losses(config)
    yield from _voxels(config)
    yield from _members(config)
    yield from _classification(config)
    yield from _regression(config)
    if config.data.objects == "on" and config.data.regions is not None:
        yield ("data", "objects"), "expected auto or off with data.regions: objects do not overlap"
    if config.data.objects == "on" and config.task != "segmentation":
        yield ("data", "objects"), f"expected auto or off for {config.task}: objects are those of masks"
    if config.train.keep == "last" and config.train.early_stopping is not None:
        yield ("train", "early_stopping"), "expected none with train.keep: last, since it waits for the best"
    yield from _clinical(config)
    yield from _fairness(config)
    yield from _planes(config)
    yield from _cascade(config)
    yield from _augmentations(config)
    yield from _images_alone(config)
    yield from _autoencoder(config)
    if config.predict.views and config.task in ("detection", "segmentation"):
        yield ("predict", "views"), f"is for one answer per image, not for {config.task}; see predict.flips"
    if config.task != "detection" and config.model.one_class:
        yield ("model", "one_class"), f"is for detection, not for {config.task}; leave it out"


DETECTION_AUGMENTATIONS = ("mosaic", "scale", "brightness", "contrast", "mixup", "paste")


def _augmentations(config: Config) -> Iterator[tuple[Key, str]]:
    names, key = config.train.augmentations, ("train", "augmentations")
    if names == "auto":
        return
    if config.task in WHOLE_IMAGES:
        if wrong := [name for name in names if name in ("tilt", "elastic", "mosaic", "mixup", "paste")]:
            hint = "; see train.mix" if wrong[0] == "mixup" else ""
            yield key, f"`{wrong[0]}` is not for {config.task}{hint}"
    elif config.task == "detection":
        odd = [name for name in names if name not in DETECTION_AUGMENTATIONS]
        if odd:
            yield key, f"expected some of {', '.join(DETECTION_AUGMENTATIONS)} for detection, got `{odd[0]}`"
    elif set(names) & {"mosaic", "mixup", "paste"}:
        yield key, "expected none of mosaic, mixup and paste, which are for detection"
    elif set(names) & {"shift", "erase"}:
        yield key, "expected none of shift and erase, which are for classification and regression"


CLASSIFICATION_LOSSES = ("auto", "cross_entropy", "focal", "mse", "ordinal")
REGRESSION_LOSSES = ("auto", "huber", "mae", "mse")


def _names(config: Config) -> Iterator[tuple[Key, str]]:
    name = config.name or ""
    if not name or name.startswith(".") or any(sign in name for sign in "/\\:\0"):
        yield ("name",), "expected a name that can be a folder's, without / and \\"


def _splits(config: Config) -> Iterator[tuple[Key, str]]:
    split = config.data.split
    if split.folds == 1:
        yield ("data", "split", "folds"), "expected 0 (one split) or at least 2 folds, got 1"
    if split.fold >= max(1, split.folds):
        allowed = f"from 0 to {split.folds - 1}" if split.folds else "0, since there are no folds"
        yield ("data", "split", "fold"), f"expected {allowed}, got {split.fold}"
    if split.val + split.test >= 1:
        yield ("data", "split", "val"), f"expected val + test below 1, got {split.val:g} + {split.test:g}"


def _intensity(config: Config) -> Iterator[tuple[Key, str]]:
    settings = config.preprocess
    if isinstance(settings.window, str) and settings.window not in WINDOWS:
        names = ", ".join(f"`{name}`" for name in WINDOWS)
        yield (
            ("preprocess", "window"),
            f"expected [low, high] in HU or one of {names}, got `{settings.window}`",
        )
    if isinstance(settings.window, list) and (
        len(settings.window) != 2 or settings.window[0] >= settings.window[1]
    ):
        yield ("preprocess", "window"), f"expected [low, high] with low below high, got {settings.window}"
    low, high = settings.percentiles
    if not 0 <= low < high <= 100:
        yield (
            ("preprocess", "percentiles"),
            f"expected two percentiles from 0 to 100, rising, got {[low, high]}",
        )
    if settings.mean is not None and settings.std is not None and len(settings.mean) != len(settings.std):
        counts = f"{len(settings.mean)} and {len(settings.std)}"
        yield ("preprocess", "std"), f"expected as many values as in preprocess.mean, got {counts}"


def _aims(config: Config) -> Iterator[tuple[Key, str]]:
    aim = config.evaluate.threshold
    if isinstance(aim, dict):
        (name, value), *_ = aim.items()
        if name != "cost_fn" and value > 1:
            yield ("evaluate", "threshold"), f"expected a {name} above 0 and at most 1, got {value:g}"
    if config.data.planes and (config.data.planes % 2 == 0 or config.task != "detection"):
        yield ("data", "planes"), f"expected 0, or an odd number for detection, got {config.data.planes}"
    goal = config.predict.score_threshold
    if isinstance(goal, dict):
        ((kind, wanted),) = goal.items()
        key = ("predict", "score_threshold")
        if kind == "f1" and not isinstance(wanted, str):
            yield key, f"expected `each` or `all` for f1, got {wanted:g}"
        elif kind != "f1" and isinstance(wanted, str):
            yield key, f"expected a number for {kind}, got `{wanted}`"
        elif kind == "score" and isinstance(wanted, float) and wanted > 1:
            yield key, f"expected a score from 0 to 1, got {wanted:g}"


def _losses(config: Config) -> Iterator[tuple[Key, str]]:
    known = {
        "classification": CLASSIFICATION_LOSSES,
        "regression": REGRESSION_LOSSES,
        "detection": ("auto",),
    }.get(config.task)
    if known and config.train.loss not in known:
        names = " or ".join(f"`{name}`" for name in known)
        yield ("train", "loss"), f"expected {names} for {config.task}, got `{config.train.loss}`"


def _classification(config: Config) -> Iterator[tuple[Key, str]]:
    settings = config.train
    if config.task != "classification":
        for key, usual in (("sampling", "natural"), ("mix", "none")):
            found = getattr(settings, key)
            if found != usual and (config.task, found) != ("regression", "mixup"):
                yield (
                    ("train", key),
                    f"expected {usual} for {config.task}, got {found}{_why(config.task, found)}",
                )
    if config.task == "segmentation" and settings.loss in ("ordinal", "mae", "huber"):
        whose = "classification" if settings.loss == "ordinal" else "regression"
        yield ("train", "loss"), f"`{settings.loss}` is for {whose}, not for segmentation"
    if (
        settings.loss == "ordinal"
        and config.task == "classification"
        and not isinstance(config.data.classes, list)
    ):
        yield (
            ("train", "loss"),
            "expected data.classes with `ordinal`: the grades from the lowest to the highest",
        )
    if settings.sampling == "balanced" and settings.fairness.method in ("sampling", "group_dro"):
        yield (
            ("train", "sampling"),
            f"expected natural with train.fairness.method: {settings.fairness.method}, which draws groups and, with "
            "by_class, classes equally often",
        )


def _why(task: str, found: str) -> str:
    """Why a setting of classes, or of both, is refused for numbers."""
    if task != "regression":
        return ""
    return {
        "balanced": ": numbers have no classes to be drawn equally often",
        "cutmix": ": a part of another image does not move the number by its share; mixup may be used",
        "both": ": cutmix does not suit numbers; mixup may be used",
    }.get(found, "")


def _regression(config: Config) -> Iterator[tuple[Key, str]]:
    target = ("data", "columns", "target")
    if config.task != "regression":
        if config.data.columns.target is not None:
            yield target, f"is for regression, not for {config.task}; leave it out"
        return
    if config.data.table is None:
        yield ("data", "table"), "expected a table with a column of the numbers to predict, got none"
    elif config.data.columns.target is None:
        yield target, "expected the column of data.table with the number to predict, such as age, got none"
    if config.data.format not in ("auto", "table"):
        yield ("data", "format"), f"expected table for regression, got {config.data.format}"
    if config.data.columns.label != "auto":
        yield ("data", "columns", "label"), "is for classes; for regression name data.columns.target instead"
    if config.data.classes is not None:
        yield ("data", "classes"), "is for classes, not for regression; leave it out"
    if config.train.class_weights not in ("auto", "none"):
        yield ("train", "class_weights"), "expected auto or none for regression, which has no classes"
    if config.train.label_smoothing:
        yield ("train", "label_smoothing"), "expected 0 for regression, which has no classes"


def _voxels(config: Config) -> Iterator[tuple[Key, str]]:
    if config.task != "segmentation" and config.data.ignore_label is not None:
        yield ("data", "ignore_label"), f"is for segmentation, not for {config.task}; leave it out"
    if config.task != "segmentation" and config.data.regions is not None:
        yield ("data", "regions"), f"is for segmentation, not for {config.task}; leave it out"


def _clinical(config: Config) -> Iterator[tuple[Key, str]]:
    columns, inputs = list(config.data.clinical), config.model.inputs
    if inputs != "both" and not columns:
        yield ("model", "inputs"), f"expected both without data.clinical, got `{inputs}`"
    if not columns:
        return
    if config.task not in WHOLE_IMAGES:
        yield (
            ("data", "clinical"),
            f"is for classification and regression, not for {config.task}; leave it out",
        )
    elif config.data.table is None:
        yield ("data", "clinical"), "expected data.table beside it, the table with these columns"
    elif config.model.name == "features" and inputs != "image":
        yield ("model", "inputs"), f"expected `image` with `model.name: features`, got `{inputs}`"
    if len(set(columns)) < len(columns):
        yield ("data", "clinical"), f"expected every column once, got {', '.join(columns)}"


def _fairness(config: Config) -> Iterator[tuple[Key, str]]:
    settings, section = config.train.fairness, ("train", "fairness")
    yield from _group_columns(config, (*section, "columns"), settings.columns)
    if settings.method != "none" or settings.select != "average":
        asked = "method" if settings.method != "none" else "select"
        if not settings.columns:
            yield (
                (*section, "columns"),
                f"expected columns to divide the cases by, since {asked} is {getattr(settings, asked)}, got none",
            )
        if config.model.fitted_at_once:
            yield (
                (*section, asked),
                f"expected the default with `{config.model.fitted_at_once}`, which is fitted at once",
            )
    if config.task != "classification":
        if settings.method not in ("none", "sampling"):
            yield (
                (*section, "method"),
                f"expected `none` or `sampling` for {config.task}, got `{settings.method}`",
            )
        if config.evaluate.group_thresholds.columns:
            yield (
                ("evaluate", "group_thresholds", "columns"),
                f"expected none for {config.task}: only classifications are decided by a threshold",
            )
    key = ("evaluate", "group_thresholds", "columns")
    yield from _group_columns(config, key, config.evaluate.group_thresholds.columns)


def _group_columns(config: Config, key: Key, columns: list[str]) -> Iterator[tuple[Key, str]]:
    known = config.data.columns.groups
    unknown = [name for name in columns if name not in known]
    if unknown:
        names = ", ".join(f"`{name}`" for name in known) or "there are none"
        yield key, f"expected columns that data.columns.groups names ({names}), got `{unknown[0]}`"
    if len(set(columns)) < len(columns):
        yield key, f"expected every column once, got {', '.join(columns)}"


def _members(config: Config) -> Iterator[tuple[Key, str]]:
    model = config.model
    if config.task not in WHOLE_IMAGES and _of_several(model):
        key = "descriptors" if model.descriptors else "visual_words" if model.visual_words else "members"
        yield ("model", key), f"is for classification and regression, not for {config.task}; leave it out"
    elif model.members == 0 and not (model.descriptors or model.visual_words):
        yield (
            ("model", "members"),
            "expected at least 1, or model.descriptors: true or model.visual_words beside 0",
        )


def _of_several(model: Model) -> bool:
    """Whether there is more in the model than one network."""
    return model.descriptors or model.visual_words > 0 or model.members != 1


def _planes(config: Config) -> Iterator[tuple[Key, str]]:
    planes = config.model.planes
    if planes != "auto" and config.task != "segmentation":
        yield ("model", "planes"), f"is for segmentation, not for {config.task}; leave it out"
    elif isinstance(planes, int) and planes % 2 == 0:
        yield ("model", "planes"), f"expected an odd number, as one plane is in the middle, got {planes}"


def _cascade(config: Config) -> Iterator[tuple[Key, str]]:
    if config.model.cascade != "on":
        return
    if config.task != "segmentation":
        yield ("model", "cascade"), f"is for segmentation, not for {config.task}; leave it out"
    elif isinstance(config.model.planes, int):
        yield ("model", "planes"), f"expected all with model.cascade: on, got {config.model.planes}"


def _images_alone(config: Config) -> Iterator[tuple[Key, str]]:
    if config.train.learn_from == "labels":
        return
    key, model = ("train", "learn_from"), config.model
    if config.task != "classification":
        yield (
            key,
            f"images: expected task: classification, whose networks see whole images, got {config.task}",
        )
    elif model.name == "features" or _of_several(model):
        yield (
            key,
            "images: expected one network, without model.name: features, model.descriptors, model.visual_words and "
            "model.members",
        )
    if config.train.fairness.method != "none":
        yield ("train", "fairness", "method"), "expected `none` with train.learn_from: images"
    if config.data.clinical:
        yield (
            ("data", "clinical"),
            "expected none with train.learn_from: images, which learns from images alone",
        )


def _autoencoder(config: Config) -> Iterator[tuple[Key, str]]:
    if config.model.name != "autoencoder":
        return
    if config.task != "classification":
        yield ("model", "name"), f"autoencoder: expected task: classification, got {config.task}"
    if _of_several(config.model):
        yield (
            ("model", "members"),
            "expected one network, without model.descriptors and model.visual_words, with model.name: autoencoder",
        )
    if config.data.clinical:
        yield ("data", "clinical"), "expected none with model.name: autoencoder, which sees the image only"
    if config.train.fairness.method != "none" or config.train.fairness.select != "average":
        yield ("train", "fairness", "method"), "expected the defaults with model.name: autoencoder"
    if config.train.learn_from == "images":
        yield ("train", "learn_from"), "expected labels with model.name: autoencoder, which needs none anyway"
