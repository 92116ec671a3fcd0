"""What the description inside a `.keras` file may name: an allow-list of layers and other Keras parts.

Keras rebuilds a network by looking up classes and functions by name, and most of its published holes were a
name too many (`Lambda`, `TFSMLayer`, `keras.utils.get_file`, `subprocess.Popen`, ...). So everything that is
not listed here is refused before Keras sees it. Needs the standard library only.
"""

import json
import re
from typing import Any

from medcli.errors import RunError

MAX_DEPTH = 100
MAX_WIDTH = 65_536
"""Largest number of units, filters or heads that one layer may ask for."""

_DIMENSIONS = ("1D", "2D", "3D")


def _dimensional(*names: str) -> set[str]:
    return {name + dimension for name in names for dimension in _DIMENSIONS}


LAYERS = frozenset(
    _dimensional("Conv", "UpSampling", "ZeroPadding", "Cropping")
    | {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}
    | {"SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D"}
    | _dimensional("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling")
    | _dimensional("AdaptiveMaxPooling", "AdaptiveAveragePooling", "SpatialDropout", "ConvLSTM")
    | {"InputLayer", "Identity", "Dense", "EinsumDense", "Embedding", "Activation", "Masking"}
    | {"ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"}
    | {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}
    | {
        "Flatten",
        "Reshape",
        "Permute",
        "RepeatVector",
        "Rescaling",
        "Resizing",
        "CenterCrop",
        "Normalization",
    }
    | {"BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"}
    | {"UnitNormalization", "SpectralNormalization", "ActivityRegularization"}
    | {"Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"}
    | {"Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"}
    | {"RNN", "SimpleRNN", "SimpleRNNCell", "GRU", "GRUCell", "LSTM", "LSTMCell", "StackedRNNCells"}
    | {"Bidirectional", "TimeDistributed"}
    | {
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomTranslation",
        "RandomContrast",
        "RandomBrightness",
    }
)
"""Layers of Keras that only compute. Not among them: what runs code (Lambda), opens files (StringLookup,
TextVectorization, IntegerLookup) or wraps another framework (TFSMLayer, TorchModuleWrapper, JaxLayer)."""

_MODELS = {"Functional", "Sequential", "Model", "DTypePolicy"}
_ANY_CLASS = re.compile(r"[A-Z]\w*")
_MODULES: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"keras\.layers|keras\.src\.layers\..+"), LAYERS),
    (re.compile(r"keras|keras\.models|keras\.src\.models\.(functional|sequential|model)"), _MODELS),
    (re.compile(r"keras\.(initializers|regularizers|constraints|dtype_policies)"), _ANY_CLASS),
    (re.compile(r"keras\.(optimizers|optimizers\.schedules|losses|metrics)"), _ANY_CLASS),
    (re.compile(r"keras\.src\.ops\.(numpy|nn|image|math)"), _ANY_CLASS),
    (re.compile(r"keras\.src\.applications\.convnext"), {"LayerScale"}),
)
"""Module and what may be taken from it; names of classes begin with a capital, functions do not."""

_FUNCTIONS = frozenset(
    {"relu", "relu6", "leaky_relu", "silu", "swish", "gelu", "elu", "selu", "celu", "mish", "tanh", "sigmoid"}
    | {"hard_sigmoid", "hard_silu", "hard_swish", "softmax", "log_softmax", "softplus", "softsign"}
    | {"linear", "exponential"}
)
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__"}
_WIDTHS = {
    "units",
    "filters",
    "num_heads",
    "num_query_heads",
    "key_dim",
    "value_dim",
    "input_dim",
    "output_dim",
}
_OWN = "medcli"


def check_config(text: bytes, file: str) -> dict[str, Any]:
    """Parse a network's description and refuse whatever is not on the list.

    The training state (`compile_config`) is taken out unread; nothing here needs it.

    Raises:
        RunError: Not JSON, nested too deeply, names something outside the list, or asks for absurd sizes.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise RunError(
            f"{file}: the network's description (config.json) cannot be read; damaged or made to harm."
        ) from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise RunError(f"{file}: expected config.json to describe a Keras network, found something else.")
    config.pop("compile_config", None)
    waiting: list[tuple[Any, int]] = [(config, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise RunError(
                f"{file}: the description is nested more than {MAX_DEPTH} deep; refused as unsafe."
            )
        if isinstance(item, dict):
            _check_object(item, file)
            waiting += [(value, depth + 1) for value in item.values()]
        elif isinstance(item, list):
            waiting += [(value, depth + 1) for value in item]
    return config


def _check_object(item: dict[str, Any], file: str) -> None:
    for key in _WIDTHS & item.keys():
        if isinstance(item[key], (int, float)) and not 0 <= item[key] <= MAX_WIDTH:
            raise RunError(
                f"{file}: a layer asks for {key} = {item[key]:g}, at most {MAX_WIDTH} are allowed; refused."
            )
    if "class_name" in item and not _allowed(item):
        kind = "function" if item["class_name"] == "function" else "class"
        raise RunError(
            f"{file}: the network uses the {kind} {_shown(item)}, which is not on the list of harmless "
            "layers and might run code; refused. Use a network made of standard layers."
        )


def _allowed(item: dict[str, Any]) -> bool:
    name, module, registered = item["class_name"], item.get("module"), item.get("registered_name")
    if not isinstance(name, str):
        return False
    if name in _VALUES and module is None:
        return True
    if not isinstance(module, str) or not isinstance(registered, (str, type(None))):
        return False
    if registered is not None and registered.startswith(_OWN + ">"):
        return module.split(".")[0] == _OWN
    if name == "function":
        plain = registered in (None, "function", item.get("config"))
        return plain and module == "builtins" and str(item.get("config")) in _FUNCTIONS
    if registered not in (None, name):
        return False
    for pattern, names in _MODULES:
        if pattern.fullmatch(module):
            return bool(names.fullmatch(name)) if isinstance(names, re.Pattern) else name in names
    return False


def _shown(item: dict[str, Any]) -> str:
    """Module and name as printable text of bounded length: the file is not trusted, nor is what it says."""
    name = item.get("config") if item["class_name"] == "function" else item["class_name"]
    return repr(f"{item.get('module')}.{name}"[:80])
