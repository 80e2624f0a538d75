"""How a model is trained, as frozen data."""

import math
from dataclasses import dataclass
from typing import Literal

from stillmotion.errors import StillmotionError, at_least, check_fields
from stillmotion.training.schedule import ScheduleName

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
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    """Clips of an epoch: each once, or every class equally often in as many clips (rare ones again, in another random
    view where there are any)."""
    logit_adjustment: float = 0.0
    """Times the log of a class's share of the training clips, added to its logit in training alone, so that rare
    classes are not drowned (1 is the paper's; Menon et al. 2021); 0: nothing."""
    label_smoothing: float = 0.0
    """Probability spread over all classes."""
    multi_label_loss: Literal["asymmetric", "bce"] = "asymmetric"
    """Loss where videos of a list have several labels (a|b): asymmetric (Ridnik et al. 2021), or binary
    cross-entropy."""
    focus: tuple[float, float] = (1.0, 4.0)
    """gamma+ and gamma- of the asymmetric loss: how much easy positives and easy negatives are discounted."""
    margin: float = 0.05
    """Of the asymmetric loss: what a negative's probability is lowered by, at least to 0."""
    mix: bool = False
    """Mixup (alpha 0.8) or CutMix (alpha 1) on every batch, as ViFi-CLIP; not with cached features."""
    clip_grad: float | None = None
    """Largest norm of the gradient; None: as it is."""
    precision: Precision = "fp32"
    """Precision of the forward pass."""
    seed: int = 0
    """Decides initialization, order, dropout and augmentation."""
    workers: int | None = None
    """Processes that decode, or read the feature cache; None: 0 on a CPU, 8 with a GPU; of models that train together
    none reads the cache, for this one keeps it in memory."""
    eval_every: int = 1
    """Epochs between evaluations on the validation clips; 0: only at the end."""
    keep: Literal["last", "best"] = "last"
    """Weights that a run ends with: of the last epoch, or of the one with the best top-1 on the validation clips (whose
    number is then too good: they chose it)."""
    patience: int | None = None
    """Evaluations in a row without a better top-1 that end the run early; None: all epochs."""
    save_minutes: float = 2.0
    """Minutes between saved states to resume from; 0: every step."""
    device: str = "auto"
    """Where to run: cpu, cuda, cuda:1, ..., mps; auto: the GPU if there is one."""
    track: Literal["tensorboard", "wandb", "mlflow", "trackio"] | None = None
    """Tell a tracker too (JSON lines are always written)."""

    def __post_init__(self) -> None:
        check_fields(self, "a finite number", math.isfinite, "lr", "weight_decay", "logit_adjustment")
        check_fields(self, "above 0", lambda x: x > 0, "lr", "batch_size", "epochs")
        at_least(0, self, "weight_decay", "warmup", "save_minutes", "eval_every", "logit_adjustment")
        check_fields(self, "above 0, or left out", lambda x: x > 0, "micro_batch", "clip_grad", "patience")
        at_least(0, self, "workers", hint=", or left out")
        check_fields(self, "in [0, 1)", lambda x: 0 <= x < 1, "label_smoothing")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise StillmotionError(f"betas are {self.betas}; they must be in [0, 1)")
        if (self.patience is not None or self.keep == "best") and not self.eval_every:
            raise StillmotionError("eval-every is 0, and --keep best and --patience look at evaluations; pass 1")
        check_fields(self, "in [0, 1)", lambda x: 0 <= x < 1, "margin")
        if not all(gamma == 0 or 1 <= gamma < math.inf for gamma in self.focus):  # between, the slope at 0 is infinite
            raise StillmotionError(f"focus is {self.focus}; each must be 0, or 1 or more")
        if self.sampler == "balanced" and self.logit_adjustment:
            raise StillmotionError(
                f"logit-adjustment is {self.logit_adjustment:g} and --sampler balanced makes all classes equally "
                "frequent: there is nothing left to adjust for; pass one of the two"
            )
        if self.warmup >= self.epochs:
            raise StillmotionError(
                f"warmup takes {self.warmup:g} of {self.epochs} epochs; it must be shorter than the run: pass another "
                "--warmup, or more --epochs"
            )
