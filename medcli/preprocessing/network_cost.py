"""What a U-Net costs, by formula: parameters, floating-point operations, activations, memory and time of training.

The plan needs these numbers before there is a network. They follow `medcli.models.unet` layer by layer; the tests count
the layers that Keras builds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

RESIDUAL_BLOCKS = (1, 3, 4, 6)
"""Blocks per stage of the residual encoder; the last number holds for all that follow."""
MAX_WIDTH = 320

TRAINING_FLOPS = 3
"""Times the forward pass: forward, and backward to the inputs and to the kernels."""
KEPT = 1.0
"""Bytes at the peak of a training step per byte of all layers' outputs: what is kept for going back, and gradients on
the way. Measured on a CPU: 0.87 (3D) and 0.91 (2D), see docs/preprocessing.md."""
STATE_BYTES = 20
"""Per parameter, float32: weight, gradient, two moments of Adam, moving average."""
PROCESS_BYTES = 1.0e9
"""TensorFlow itself and the batches that wait."""


@dataclass(frozen=True)
class Cost:
    """Attributes:
    parameters: Of the network, with the statistics of its normalisation.
    gflop: Of convolutions for one patch forward, a multiply-add being two operations.
    elements: Numbers in the outputs of all layers for one patch.
    """

    parameters: int
    gflop: float
    elements: int

    def training_gflop(self, batch: int) -> float:
        """Of one training step."""
        return TRAINING_FLOPS * self.gflop * batch

    def training_bytes(self, batch: int, item_bytes: int) -> float:
        """Memory that training takes at its peak; `item_bytes`: 4 in float32, 2 in mixed precision."""
        return PROCESS_BYTES + STATE_BYTES * self.parameters + KEPT * item_bytes * batch * self.elements


def stage_filters(width: int, stages: int) -> list[int]:
    """Filters at every resolution, doubled from one to the next."""
    return [min(width * 2**stage, MAX_WIDTH) for stage in range(stages)]


def residual_blocks(stage: int) -> int:
    return RESIDUAL_BLOCKS[min(stage, len(RESIDUAL_BLOCKS) - 1)]


def unet_cost(
    patch: Sequence[int],
    channels: int,
    outputs: int,
    strides: Sequence[Sequence[int]],
    *,
    width: int,
    encoder: str = "plain",
    norm: str = "batch",
    deep_supervision: bool = True,
) -> Cost:
    """The cost of `medcli.models.unet.build_unet` with these arguments; `outputs` are its logits per voxel."""
    stages, count = len(strides), _Count(norm)
    filters = stage_filters(width, stages)
    shapes = [list(patch)]
    for stride in strides[1:]:
        shapes.append([ceil(n / step) for n, step in zip(shapes[-1], stride, strict=True)])
    sizes, kernel = [prod(shape) for shape in shapes], 3 ** len(patch)
    count.elements += sizes[0] * channels
    before = channels
    for stage, (size, width_here) in enumerate(zip(sizes, filters, strict=True)):
        if encoder == "residual":
            if stage == 0:
                count.block(size, kernel, before, width_here)
                before = width_here
            for block in range(residual_blocks(stage)):
                count.residual(
                    size, kernel, before, width_here, halved=block == 0 and max(strides[stage]) > 1
                )
                before = width_here
        else:
            count.block(size, kernel, before, width_here)
            count.block(size, kernel, width_here, width_here)
            before = width_here
    for stage in reversed(range(stages - 1)):
        size, width_here = sizes[stage], filters[stage]
        count.convolution(size, 1, before, width_here, biased=True, weights=prod(strides[stage + 1]))
        count.elements += 2 * size * width_here  # the skip beside it
        count.block(size, kernel, 2 * width_here, width_here)
        if encoder == "plain":
            count.block(size, kernel, width_here, width_here)
        before = width_here
    for stage in range(max(1, stages - 2) if deep_supervision else 1):
        count.convolution(sizes[stage], 1, filters[stage], outputs, biased=True)
        count.elements += sizes[stage] * outputs  # as float32
    return Cost(count.parameters, 2 * count.multiplications / 1e9, count.elements)


@dataclass
class _Count:
    """Layers added up; `size` is always the number of positions of an output."""

    norm: str
    parameters: int = 0
    multiplications: int = 0
    elements: int = 0

    def convolution(
        self, size: int, kernel: int, before: int, filters: int, *, biased: bool, weights: int | None = None
    ) -> None:
        """`weights`: Positions of the kernel where not all touch every output: transposed, each output sees one."""
        self.parameters += (weights or kernel) * before * filters + (filters if biased else 0)
        self.multiplications += size * kernel * before * filters
        self.elements += size * filters

    def normalisation(self, size: int, filters: int) -> None:
        self.parameters += {"batch": 4, "instance": 2, "none": 0}[self.norm] * filters
        self.elements += size * filters if self.norm != "none" else 0

    def block(self, size: int, kernel: int, before: int, filters: int, *, activated: bool = True) -> None:
        self.convolution(size, kernel, before, filters, biased=self.norm == "none")
        self.normalisation(size, filters)
        self.elements += size * filters if activated else 0

    def residual(self, size: int, kernel: int, before: int, filters: int, *, halved: bool) -> None:
        if halved or before != filters:
            self.elements += size * before if halved else 0
            self.convolution(size, 1, before, filters, biased=self.norm == "none")
            self.normalisation(size, filters)
        self.block(size, kernel, before, filters)
        self.block(size, kernel, filters, filters, activated=False)
        self.elements += 2 * size * filters  # the sum, and its activation
