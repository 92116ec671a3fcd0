"""The one place that turns `model.name` into a network of one output (the detector is built by its task)."""

import keras

from medcli.config.schema import Config, Model
from medcli.errors import ConfigError
from medcli.features.prepared import columns, whole_image
from medcli.models.autoencoder import build_autoencoder
from medcli.models.baseline import build_baseline
from medcli.models.cnn import build_cnn
from medcli.models.joined import joined, table_only
from medcli.models.panel import build_panel
from medcli.models.resnet import build_resnet18
from medcli.models.unet import build_unet
from medcli.preprocessing.plan import Plan

BY_TASK = {
    "classification": "resnet18",
    "regression": "resnet18",
    "detection": "yolo",
    "segmentation": "unet",
}


def resolve(settings: Model, plan: Plan) -> Model:
    """The settings with every `auto` decided, as a run folder keeps them: later defaults must not change old runs."""
    name = BY_TASK[plan.task] if settings.name == "auto" else settings.name
    volumes = plan.task == "segmentation" and plan.dimensions == 3 and plan.planes is None
    usual = plan.width or (16 if volumes else 32)
    width = usual if settings.width == "auto" else settings.width
    residual = len(plan.strides) - 1 if plan.whole_images and plan.strides else 4
    stages = (
        {"cnn": 2, "resnet18": residual, "autoencoder": 3}.get(name, plan.stages)
        if settings.stages == "auto"
        else settings.stages
    )
    return settings.model_copy(update={"name": name, "width": width, "stages": stages})


def build_model(config: Config, plan: Plan) -> keras.Model:
    """A new network for the plan, or several in one; raises ConfigError when the name does not fit the task."""
    settings = config.model
    if plan.clinical and settings.inputs == "table":
        return table_only(_given(plan), plan.channels, plan.num_classes)
    linear = "descriptors" if settings.descriptors else "visual_words" if settings.visual_words else None
    if settings.members == 1 and linear is None:
        return _with_columns(config, plan)
    if linear is not None and plan.dimensions != 2:
        raise ConfigError(f"model.{linear}: expected pictures, got volumes; leave it out.")
    return build_panel(
        lambda: _with_columns(config, plan),
        _given(plan),
        plan.num_classes,
        members=settings.members,
        descriptors=settings.descriptors,
        visual_words=settings.visual_words,
        channels=plan.channels if plan.clinical else None,
    )


def _with_columns(config: Config, plan: Plan) -> keras.Model:
    network = build_network(config, plan)
    return joined(network, _given(plan), plan.channels) if plan.clinical else network


def build_network(config: Config, plan: Plan) -> keras.Model:
    """One network by its name; see `build_model`."""
    settings = resolve(config.model, plan)
    assert settings.width != "auto" and settings.stages != "auto"  # decided just now
    match "whole images" if plan.whole_images else plan.task, settings.name:
        case "whole images", "cnn":
            return build_cnn(
                _whole(plan),
                plan.num_classes,
                width=settings.width,
                stages=settings.stages,
                activation=settings.activation,
                dropout=settings.dropout,
            )
        case "whole images", "resnet18":
            return build_resnet18(
                _whole(plan),
                plan.num_classes,
                width=settings.width,
                stages=settings.stages,
                strides=plan.strides,
                activation=settings.activation,
                norm=settings.norm,
                dropout=settings.dropout,
            )
        case "whole images", "autoencoder" if plan.target is None:
            return build_autoencoder(
                _whole(plan),
                width=settings.width,
                stages=settings.stages,
                activation=settings.activation,
                norm=settings.norm,
            )
        case "whole images", "features":
            if settings.weights != "none":
                raise ConfigError(
                    f"model.weights: features are fitted from nothing, expected none, got {settings.weights}."
                )
            names = columns(plan, whole_image(config.features))
            if not names:
                raise ConfigError(
                    "features.families: none of these can be measured over whole images; name others."
                )
            return build_baseline(len(names), plan.num_classes, settings.classifier)
        case "segmentation", "unet":
            return build_unet(
                (*(plan.patch or ()), plan.input_channels),
                plan.num_outputs + plan.single_objects,  # and how deep a voxel lies in its object
                strides=plan.strides,
                flat=plan.planes is not None,
                width=settings.width,
                activation=settings.activation,
                norm=settings.norm,
                dropout=settings.dropout,
                encoder=settings.encoder,
                deep_supervision=settings.deep_supervision,
            )
        case "whole images", name:
            from medcli.models.applications import build_application

            return build_application(
                name, _whole(plan), plan.num_classes, weights=settings.weights, dropout=settings.dropout
            )
    raise ConfigError(
        f"model.name: expected a network for {plan.task} ({BY_TASK[plan.task]} or auto), got {settings.name!r}."
    )


def _given(plan: Plan) -> tuple[int, ...]:
    """Shape of what the network is given; `_whole` is that of the image."""
    return (*_whole(plan)[:-1], plan.input_channels)


def _whole(plan: Plan) -> tuple[int, ...]:
    if plan.size is None:
        raise ConfigError(
            f"preprocess.size: {plan.task} needs one size for all images, got native; give one or auto."
        )
    return (*plan.size, plan.channels)
