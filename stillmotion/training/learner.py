"""One model that learns: takes batches, makes steps. It knows nothing of files or loops; one loop can drive many."""

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from stillmotion.data.dataset import Batch
from stillmotion.errors import StillmotionError
from stillmotion.training.batches import BatchPlan
from stillmotion.training.comparison import Comparison, Embeddings
from stillmotion.training.config import Train
from stillmotion.training.objective import Contrastive, Objective, plant, step_seed
from stillmotion.training.schedule import schedule
from stillmotion.training.shards import copy_weights, load_optimizer_state, optimizer_state, shardable
from stillmotion.training.tuning import Tune, freeze, param_groups, rules


class Diverged(StillmotionError):
    """A loss is not finite."""


class Learner:
    """A model, its optimizer and its objective; what none of the name patterns `tunes` matches is frozen.

    `tokens` are prompts (K, S) or class embeddings (K, E) for a model that reads text; None for a closed set.

    `model` is whole on every process. Where Accelerate shards (FSDP2) it is a copy of what learns that `settle` brings
    up to date: processes evaluate different clips, and parts are only together while all do the same.
    """

    def __init__(
        self,
        model: nn.Module,
        tunes: tuple[Tune, ...],
        objective: Objective | Contrastive,
        config: Train,
        plan: BatchPlan,
        accelerator: Accelerator,
        tokens: Tensor | None = None,
    ):
        trained = rules(model, tunes)
        freeze(model, trained)
        self.model, self.objective, self.config = model, objective, config
        if accelerator.is_fsdp2:
            self.model, model = model.to(accelerator.device), shardable(copy.deepcopy(model))
        self._learns = model
        # Running statistics of frozen norms must not move: they are not parameters, and nothing would store them.
        self._still = [
            m for m in model.modules() if isinstance(m, _NormBase) and not any(p.requires_grad for p in m.parameters())
        ]
        groups = param_groups(model, trained, config.weight_decay, config.decay)
        optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=1e-8, fused=True)
        self.plan, self.accelerator = plan, accelerator
        self._comparison: Comparison | None = None
        if isinstance(objective, Contrastive):  # needs embeddings, which are compared over all passes and processes
            embeddings = shardable(Embeddings(model)) if accelerator.is_fsdp2 else Embeddings(model)
            self.wrapped, self.optimizer = accelerator.prepare(embeddings, optimizer)
            self._comparison = Comparison(self.wrapped, embeddings, objective, accelerator)
        else:
            self.wrapped, self.optimizer = accelerator.prepare(model, optimizer)
        # In one process without a scaler Accelerate has nothing to add, and looks for a package on the disk each time.
        alone = accelerator.num_processes == 1 and accelerator.scaler is None
        self._stepper = optimizer if alone else self.optimizer
        self._backward: Callable[[Tensor], None] = Tensor.backward if alone else accelerator.backward
        self.curve = schedule(config.schedule, config.lr, plan.total_steps, round(config.warmup * plan.steps_per_epoch))
        self.tokens = None if tokens is None else tokens.to(accelerator.device)
        self._total = torch.zeros((), device=accelerator.device)

    @property
    def rate(self) -> float:
        """Learning rate of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def accumulate(self, batch: Batch, step: int, part: int, counts: bool = True) -> None:
        """Add the gradients of one forward pass, part `part` of a step; what is random in it comes from its place.

        `counts` is off where none of its clips can be read: others stand in for them, and other processes wait for the
        gradients, which are zero.
        """
        parts = len(self.plan.micro_batches(step))
        weight = self.plan.weight(step, part) if counts else 0.0
        seed = step_seed(self.config.seed, step, self.plan.rank * parts + part)
        plant(seed, self.accelerator.device)
        self.wrapped.train()
        for module in self._still:
            module.eval()
        if part == 0:
            self._stepper.zero_grad()
            self._total = torch.zeros((), device=self.accelerator.device)
        last = part == parts - 1
        if self._comparison is not None:
            self._hold(self._comparison, batch, step, part, weight > 0)
            if last:
                self._total += self._comparison.backward(len(self.plan.batch(step)))
            return
        assert not isinstance(self.objective, Contrastive)
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
            loss = self._loss(self.objective, batch, weight, seed)
            self._backward(loss)
        self._total += loss.detach()

    def update(self, step: int, *asked: bool) -> tuple[float, list[bool]]:
        """Take the optimizer step; returns the mean loss, and of each question whether any process says yes.
        Raises `Diverged`: the loss is not finite.
        """
        told = torch.stack([self._total, *(torch.full_like(self._total, yes) for yes in asked)])
        mean, *answers = self.accelerator.reduce(told, "mean").tolist()
        if not math.isfinite(mean):
            raise Diverged(f"the loss is {mean} at step {step}; lower --lr, set --clip-grad 1, or use --precision fp32")
        for group in self.optimizer.param_groups:
            group["lr"] = self.curve(group["lr_scale"], step)
        if self.config.clip_grad is not None:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.clip_grad)
        self._stepper.step()
        return mean, [answer > 0 for answer in answers]

    def settle(self, weights: dict[str, Tensor] | None = None) -> None:
        """Bring `model` up to the steps that were taken; with weights that are kept instead of these, learning ends."""
        if self._learns is not self.model:
            copy_weights(self._learns, self.model)
        if weights is not None:
            self.model.load_state_dict(weights, strict=False)
            self._learns = self.model

    def weights(self) -> dict[str, Tensor]:
        """Parameters that train, and buffers; not copied."""
        self.settle()
        frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        return {k: v for k, v in self.model.state_dict().items() if k not in frozen}

    def state(self) -> dict[str, Any]:
        """Everything that steps change, to go on from, with any number of processes; all of them call it."""
        scaler = self.accelerator.scaler
        return {
            "model": self.weights(),
            "optimizer": optimizer_state(self.optimizer),
            "scaler": scaler.state_dict() if scaler else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.model.load_state_dict(state["model"], strict=False)
        if self._learns is not self.model:
            copy_weights(self.model, self._learns)
        load_optimizer_state(self.optimizer, state["optimizer"])
        if state["scaler"] and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _hold(self, comparison: Comparison, batch: Batch, step: int, part: int, counts: bool) -> None:
        """Add a pass to a comparison; its prompts are drawn as one pass of one process would draw them."""
        parts, seed = len(self.plan.micro_batches(step)), self.config.seed
        places = self.plan.places(step, part, batch.indices.tolist()) if counts else range(len(batch.labels))
        assert self.tokens is not None
        labels = batch.labels.to(self.accelerator.device)
        prompts = comparison.objective.prompts(self.tokens, labels, step_seed(seed, step, 0), places)
        comparison.add(batch, prompts, step_seed(seed, step, self.plan.rank * parts + part), counts)

    def _loss(self, objective: Objective, batch: Batch, weight: float, seed: int) -> Tensor:
        device = self.accelerator.device
        views = send_to_device(batch.views, device, non_blocking=True)
        inputs, targets = objective.targets(batch._replace(labels=batch.labels.to(device), views=views), seed)
        with self.accelerator.autocast():
            logits = self.wrapped(inputs, self.tokens)
        return objective.losses(logits, targets).sum() * weight
