"""Patch, batch and width within what memory and time allow.

The rules, in this order; what the config fixes is never changed:

memory  While training would take more than `train.memory_gb`, the batch is lowered to 2, then the patch is made
        smaller, then the network is halved in width, down to 8 filters. With a number given (not `auto`) they also grow
        up to it: first the patch, to the size of the median image at most, then the batch, then the width to 32.
time    While fewer than `LEAST_STEPS` steps fit into `train.max_minutes`, the batch is halved, then the width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

from medcli.config.schema import Config
from medcli.errors import ConfigError
from medcli.machine import cpu_cores, cpu_flags, cpu_has_bf16, gpu_memory_bytes, memory_bytes
from medcli.preprocessing.network_cost import Cost, unet_cost

LEAST_STEPS = 100
"""A network that is trained for fewer steps would learn more if it were smaller."""
LEAST_BATCH, LEAST_WIDTH, MOST_WIDTH = 2, 8, 32
SHRINK = 0.8
"""Factor on the voxels of a patch that is too large."""
SHARE_OF_MEMORY, SHARE_OF_GPU = 0.7, 0.9
TRAINING_SHARE = 0.85
"""Of the time, the rest being validation and start."""
GFLOPS_GPU = 5000.0
GFLOPS_PER_CORE = {"bfloat16": 110.0, "float32, AVX-512": 55.0, "float32": 30.0}
"""What a training step achieves on two cores; see docs/preprocessing.md."""

Shape = tuple[int, ...]
Propose = Callable[[float], tuple[Shape, tuple[Shape, ...]]]
"""From the most voxels of a patch to the patch and its strides."""


@dataclass(frozen=True)
class Draft:
    """A network in the making; `limit` is the most voxels of the patch, `cost` of what it is by now."""

    patch: Shape
    strides: tuple[Shape, ...]
    batch: int
    width: int
    limit: float

    def cost(self, config: Config, channels: int, outputs: int) -> Cost:
        model = config.model
        return unet_cost(
            self.patch,
            channels,
            outputs,
            self.strides,
            width=self.width,
            encoder=model.encoder,
            norm=model.norm,
            deep_supervision=model.deep_supervision,
        )


@dataclass(frozen=True)
class Machine:
    """What training would run on: bytes per number, GFLOP/s of a step (assumed), memory, and words for them."""

    item_bytes: int
    gflops: float
    memory: float
    name: str

    @classmethod
    def here(cls, precision: str) -> "Machine":
        """Without asking TensorFlow. `precision`: `train.mixed_precision`."""
        gpu = gpu_memory_bytes()
        if gpu is not None:
            halves = precision != "float32"
            return cls(2 if halves else 4, GFLOPS_GPU, SHARE_OF_GPU * gpu, "a GPU")
        halves = precision == "bfloat16" or (precision == "auto" and cpu_has_bf16())
        wide = any(flag.startswith("avx512") for flag in cpu_flags())
        kind = "bfloat16" if halves else "float32, AVX-512" if wide else "float32"
        cores = cpu_cores()
        speed = GFLOPS_PER_CORE[kind] * cores
        return cls(2 if halves else 4, speed, SHARE_OF_MEMORY * memory_bytes(), f"{cores} cores in {kind}")


class Budget:
    """Brings a draft within memory and time and says what was done, in `reasons`."""

    def __init__(
        self,
        config: Config,
        machine: Machine,
        propose: Propose,
        *,
        channels: int,
        outputs: int,
        most_batch: int,
    ):
        self.config, self.machine, self.propose = config, machine, propose
        self.channels, self.outputs, self.most_batch = channels, outputs, most_batch
        given = config.train.memory_gb
        self.memory = machine.memory if given == "auto" else given * 1e9
        self.given = given != "auto"
        self.free_batch = config.train.batch_size == "auto"
        self.free_patch = config.train.patch == "auto"
        self.free_width = config.model.width == "auto"
        self.limited: dict[str, str] = {}

    def cost(self, draft: Draft) -> Cost:
        return draft.cost(self.config, self.channels, self.outputs)

    def fits(self, draft: Draft) -> bool:
        return self.cost(draft).training_bytes(draft.batch, self.machine.item_bytes) <= self.memory

    def seconds(self, draft: Draft) -> float:
        """Of one step."""
        return self.cost(draft).training_gflop(draft.batch) / self.machine.gflops

    def steps(self, draft: Draft) -> float:
        """In the time budget; infinite without one."""
        minutes = self.config.train.max_minutes
        return float("inf") if minutes is None else TRAINING_SHARE * 60 * minutes / self.seconds(draft)

    def apply(self, draft: Draft) -> Draft:
        """Raises ConfigError when a memory budget that was given cannot be kept."""
        draft = self._within_memory(draft)
        if self.given:
            draft = self._grown(draft)
        return self._within_time(draft)

    def _within_memory(self, draft: Draft) -> Draft:
        why = f"lowered: the memory budget of {self.memory / 1e9:.3g} GB allows no more"
        while not self.fits(draft):
            if self.free_batch and draft.batch > LEAST_BATCH:
                draft = self._changed("batch_size", why, replace(draft, batch=draft.batch - 1))
            elif self.free_patch and (smaller := self._smaller(draft)) is not None:
                draft = self._changed("patch", why, smaller)
            elif self.free_width and draft.width > LEAST_WIDTH:
                draft = self._changed("width", why, replace(draft, width=draft.width // 2))
            elif self.given:
                needed = self.cost(draft).training_bytes(draft.batch, self.machine.item_bytes) / 1e9
                raise ConfigError(
                    f"train.memory_gb: training this network takes about {needed:.2g} GB, got {self.memory / 1e9:.2g}; "
                    "give more, or lower train.patch, train.batch_size or model.width."
                )
            else:
                break
        return draft

    def _smaller(self, draft: Draft) -> Draft | None:
        """With the next smaller patch; None when it would be tiny."""
        limit = draft.limit
        while limit > 16 ** len(draft.patch):
            limit *= SHRINK
            patch, strides = self.propose(limit)
            if prod(patch) < prod(draft.patch):
                return replace(draft, patch=patch, strides=strides, limit=limit)
        return None

    def _grown(self, draft: Draft) -> Draft:
        why = f"grown to the memory budget of {self.memory / 1e9:.3g} GB"
        while self.free_patch and draft.limit < 1e9:
            patch, strides = self.propose(draft.limit / SHRINK)
            larger = replace(draft, patch=patch, strides=strides, limit=draft.limit / SHRINK)
            if self.free_batch:
                larger = replace(larger, batch=LEAST_BATCH)
            if not self.fits(larger):
                break
            draft = (
                self._changed("patch", why, larger)
                if patch != draft.patch
                else replace(draft, limit=larger.limit)
            )
        while (
            self.free_batch
            and draft.batch < self.most_batch
            and self.fits(replace(draft, batch=draft.batch + 1))
        ):
            draft = self._changed("batch_size", why, replace(draft, batch=draft.batch + 1))
        while (
            self.free_width and draft.width < MOST_WIDTH and self.fits(replace(draft, width=2 * draft.width))
        ):
            draft = self._changed("width", why, replace(draft, width=2 * draft.width))
        return draft

    def _within_time(self, draft: Draft) -> Draft:
        why = f"lowered so that {LEAST_STEPS} steps fit into train.max_minutes"
        while self.steps(draft) < LEAST_STEPS:
            if self.free_batch and draft.batch > LEAST_BATCH:
                draft = self._changed(
                    "batch_size", why, replace(draft, batch=max(LEAST_BATCH, draft.batch // 2))
                )
            elif self.free_width and draft.width > LEAST_WIDTH:
                draft = self._changed("width", why, replace(draft, width=draft.width // 2))
            else:
                break
        return draft

    def _changed(self, what: str, why: str, draft: Draft) -> Draft:
        self.limited[what] = why
        return draft

    def numbers(self, draft: Draft) -> dict[str, float]:
        """For the plan."""
        cost = self.cost(draft)
        found = {
            "parameters": float(cost.parameters),
            "gflop_per_patch": float(f"{cost.gflop:.3g}"),
            "memory_gb": round(cost.training_bytes(draft.batch, self.machine.item_bytes) / 1e9, 2),
            "seconds_per_step": float(f"{self.seconds(draft):.2g}"),
        }
        if self.config.train.max_minutes is not None:
            found["steps"] = float(f"{self.steps(draft):.2g}")
        return found

    def explained(self, draft: Draft) -> str:
        """The reason in the plan."""
        numbers = self.numbers(draft)
        text = (
            f"forward, by formula; training takes about {numbers['memory_gb']:g} of {self.memory / 1e9:.3g} GB "
            f"({'train.memory_gb' if self.given else 'a share of what this machine has'}); steps at "
            f"{self.machine.gflops:g} GFLOP/s, assumed for {self.machine.name}"
        )
        if "steps" in numbers:
            text += f": about {numbers['steps']:g} in {self.config.train.max_minutes:g} min"
            if numbers["steps"] < LEAST_STEPS:
                text += f", fewer than {LEAST_STEPS}: more time or a smaller network would serve"
        if not self.fits(draft):
            text += "; that is more memory than there is, lower train.batch_size or train.patch"
        return text
