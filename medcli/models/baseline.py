"""The baseline's last step as a network: from features to logits, by a logistic regression or by boosted trees.

scikit-learn fits them (`medcli.tasks.baseline_fit`); here they are plain arrays in plain layers, so that a run of the
baseline is a run like any other: no pickle, the same file, the same checks.
"""

import keras
import numpy as np
from keras import layers, ops

LIMIT = 10.0
"""Standardised features are cut here: one odd image must not outweigh everything."""
TREES, LEAVES, DEPTH = 200, 15, 6
"""Most trees for each class, most leaves of a tree, most decisions from root to leaf."""
NODES = 2 * LEAVES - 1
PARTS = {
    "feature": "int32",
    "threshold": "float32",
    "left": "int32",
    "right": "int32",
    "missing_left": "int32",
    "value": "float32",
}


@keras.saving.register_keras_serializable(package="medcli")
class Standardize(layers.Layer):
    """Missing features take the median, then minus mean, over standard deviation, cut at +-`LIMIT`; always float32."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.median = self.add_weight(shape=shape, name="median", initializer="zeros", trainable=False)
        self.mean = self.add_weight(shape=shape, name="mean", initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=shape, name="scale", initializer="ones", trainable=False)

    def call(self, inputs):
        known = ops.where(ops.isnan(inputs), self.median, inputs)
        return ops.clip((known - self.mean) / self.scale, -LIMIT, LIMIT)


@keras.saving.register_keras_serializable(package="medcli")
class Trees(layers.Layer):
    """For every output the sum of the leaves that the features lead to, and a constant; always float32.

    A node sends its case left when the feature is at most the threshold, or missing and `missing_left`; a leaf sends
    it to itself. Arrays are (outputs, trees, nodes), filled up with trees of one leaf of value 0.
    """

    def __init__(self, outputs: int, trees: int = TREES, nodes: int = NODES, depth: int = DEPTH, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.outputs, self.trees, self.nodes, self.depth = outputs, trees, nodes, depth

    def build(self, input_shape):
        shape = (self.outputs, self.trees, self.nodes)
        self.parts = {
            name: self.add_weight(shape=shape, name=name, initializer="zeros", trainable=False, dtype=dtype)
            for name, dtype in PARTS.items()
        }
        self.base = self.add_weight(shape=(self.outputs,), name="base", initializer="zeros", trainable=False)

    def call(self, inputs):
        starts = np.arange(self.outputs * self.trees, dtype="int32")[None] * self.nodes
        flat = {name: ops.reshape(part, (-1,)) for name, part in self.parts.items()}
        at = ops.zeros_like(ops.cast(inputs[:, :1], "int32")) + starts * 0
        for _ in range(self.depth):
            here = {name: ops.take(part, at + starts) for name, part in flat.items()}
            x = ops.take_along_axis(inputs, here["feature"], axis=1)
            left = ops.where(ops.isnan(x), here["missing_left"] > 0, x <= here["threshold"])
            at = ops.where(left, here["left"], here["right"])
        leaves = ops.reshape(ops.take(flat["value"], at + starts), (-1, self.outputs, self.trees))
        return ops.sum(leaves, axis=-1) + self.base

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.outputs)

    def get_config(self):
        return super().get_config() | {
            "outputs": self.outputs, "trees": self.trees, "nodes": self.nodes, "depth": self.depth,
        }  # fmt: skip


def build_baseline(num_features: int, num_outputs: int, classifier: str) -> keras.Model:
    """(batch, features) float32, NaN where missing, to (batch, outputs) logits."""
    inputs = keras.Input((num_features,), name="features", dtype="float32")
    if classifier == "boosting":
        return keras.Model(inputs, Trees(num_outputs, name="logits")(inputs), name="boosting")
    x = Standardize(name="standardize")(inputs)
    return keras.Model(inputs, layers.Dense(num_outputs, dtype="float32", name="logits")(x), name="logistic")
