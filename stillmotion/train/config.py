"""How a model is trained, as frozen data."""

import math
from dataclasses import dataclass
from typing import Literal

from stillmotion.errors import StillmotionError
from stillmotion.train.schedule import ScheduleName

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Optimization; the optimizer is AdamW, as in every system here."""

    lr: float = 4e-4
    """Base learning rate."""
    weight_decay: float = 0.05
    """AdamW's decoupled weight decay."""
    decay: Literal["all", "matrices"] = "all"
    """What is decayed: every tensor (EVL, ViFi-CLIP, ActionCLIP), or all but vectors and scalars (X-CLIP)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's betas."""
    batch_size: int = 8
    """Clips in one optimizer step, over all processes."""
    micro_batch: int | None = None
    """Clips in one forward pass of one process; None: the whole batch. Gradients are accumulated, none is dropped."""
    epochs: int = 20
    """Passes over the training clips."""
    schedule: ScheduleName = "warmup_cosine"
    """Shape of the learning rate."""
    warmup: float = 0.0
    """Epochs of linear warm-up."""
    label_smoothing: float = 0.0
    """Probability spread over all classes."""
    mix: bool = False
    """Mixup (alpha 0.8) or CutMix (alpha 1) on every batch, as ViFi-CLIP; not with cached features."""
    clip_grad: float | None = None
    """Largest norm of the gradient; None: as it is."""
    precision: Precision = "fp32"
    """Precision of the forward pass."""
    seed: int = 0
    """Decides initialization, order, dropout and augmentation."""
    workers: int | None = None
    """Processes that decode; None: 0 on a CPU, 8 with a GPU."""
    eval_every: int = 1
    """Epochs between evaluations on the validation clips; 0: only at the end."""
    save_minutes: float = 2.0
    """Minutes between saved states to resume from; 0: every step."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to run: the GPU if there is one, or the CPU."""
    tensorboard: bool = False
    """Write TensorBoard files too (JSON lines are always written)."""

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay"):
            if not math.isfinite(getattr(self, name)):
                raise StillmotionError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be a finite number")
        for name in ("lr", "batch_size", "epochs"):
            if getattr(self, name) <= 0:
                raise StillmotionError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be above 0")
        for name in ("weight_decay", "warmup", "save_minutes", "eval_every"):
            if not getattr(self, name) >= 0:  # nan is not
                raise StillmotionError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 0")
        if self.micro_batch is not None and self.micro_batch <= 0:
            raise StillmotionError(f"micro-batch is {self.micro_batch}; it must be above 0, or left out")
        if self.workers is not None and self.workers < 0:
            raise StillmotionError(f"workers is {self.workers}; it must be at least 0, or left out")
        if not 0 <= self.label_smoothing < 1:
            raise StillmotionError(f"label-smoothing is {self.label_smoothing}; it must be in [0, 1)")
        if self.clip_grad is not None and not self.clip_grad > 0:
            raise StillmotionError(f"clip-grad is {self.clip_grad}; it must be above 0, or left out")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise StillmotionError(f"betas are {self.betas}; they must be in [0, 1)")
        if self.warmup >= self.epochs:
            raise StillmotionError(
                f"warmup takes {self.warmup} of {self.epochs} epochs; it must be shorter than the run"
            )
