"""The one training loop, through Accelerate: one process or many, any precision, stopped and resumed at any step."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import Batch
from stillmotion.errors import DataError, StillmotionError
from stillmotion.progress import progress_bar, say
from stillmotion.train.batches import BatchPlan
from stillmotion.train.config import Train
from stillmotion.train.objective import Objective, step_seed
from stillmotion.train.run_folder import RunFolder
from stillmotion.train.schedule import schedule
from stillmotion.train.tuning import Tune, param_groups


class Stopped(Exception):
    """The run was asked to stop; its state is saved, and the same command goes on from there."""


@dataclass
class Trainer:
    """Everything that a training step touches.

    Args:
        model: the model; what `tunes` does not name is frozen.
        tunes: name patterns of what trains.
        dataset: clips as videos or as cached features, indexed by (epoch, index), with a `collate`.
        objective: the loss.
        tokens: prompts (K, S) or class embeddings (K, E) for a model that reads text; None for a closed set.
        evaluate: called at the end of epochs; returns numbers to log.
    """

    model: nn.Module
    tunes: tuple[Tune, ...]
    dataset: Any
    objective: Objective
    config: Train
    folder: RunFolder
    accelerator: Accelerator
    bad: BadVideos
    tokens: Tensor | None = None
    evaluate: Callable[[Any], dict[str, float]] | None = None

    def run(self) -> None:
        """Train from the last saved state, or from the start, to the end.

        Raises:
            Stopped: a signal asked to stop; the state is saved.
            StillmotionError: the loss is not finite, or too many videos are bad.
        """
        self._prepare()
        if self.config.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        first = self._resume()
        loader = self._loader(first)
        with _stop_signals() as stop, progress_bar("training", self.plan.total_steps) as bar:
            bar.advance(first)
            self._saved = time.monotonic()
            for step in range(first, self.plan.total_steps):
                started = time.perf_counter()
                loss, stopped = self._step(step, loader, stop)
                seconds = round(time.perf_counter() - started, 4)
                self._log(step, loss=loss, lr=self.optimizer.param_groups[0]["lr"], seconds=seconds)
                bar.advance(note=f"loss {loss:.3f}")
                self._after(step + 1)
                last = step + 1 == self.plan.total_steps
                if stopped and not last:
                    self._save(step + 1)
                    self.accelerator.wait_for_everyone()  # a process that leaves early makes the launcher kill the rest
                    raise Stopped(f"stopped after step {step + 1} of {self.plan.total_steps}; run again to go on")
                if not last and time.monotonic() - self._saved >= 60 * self.config.save_minutes:
                    self._save(step + 1)

    def _prepare(self) -> None:
        config, accelerator = self.config, self.accelerator
        self.plan = BatchPlan(
            len(self.dataset),
            config.batch_size,
            config.micro_batch,
            config.epochs,
            config.seed,
            accelerator.process_index,
            accelerator.num_processes,
        )
        groups = param_groups(self.model, self.tunes, config.weight_decay, config.decay)
        if not groups:
            raise StillmotionError("nothing of this method trains; use it with `stillmotion eval` or `predict`")
        optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=1e-8, fused=True)
        self.wrapped, self.optimizer = accelerator.prepare(self.model, optimizer)
        warmup = round(config.warmup * self.plan.steps_per_epoch)
        self.curve = schedule(config.schedule, config.lr, self.plan.total_steps, warmup)
        self.tokens = None if self.tokens is None else self.tokens.to(accelerator.device)

    def _step(self, step: int, loader: Iterator[Batch], stop: list[int]) -> tuple[float, bool]:
        """Take one optimizer step; returns the mean loss, and whether any process was asked to stop."""
        accelerator, rank = self.accelerator, self.accelerator.process_index
        for group in self.optimizer.param_groups:
            group["lr"] = self.curve(group["lr_scale"], step)
        torch.manual_seed(step_seed(self.config.seed, step, rank))
        self.wrapped.train()
        self.optimizer.zero_grad()
        parts = len(self.plan.micro_batches(step))
        total = torch.zeros((), device=accelerator.device)
        for part in range(parts):
            batch = next(loader)
            for bad in batch.bad:
                self.bad.add(bad)
            synchronize = contextlib.nullcontext() if part == parts - 1 else accelerator.no_sync(self.wrapped)
            with synchronize:
                draw = step_seed(self.config.seed, step, rank * parts + part)
                loss = self._loss(batch, self.plan.weight(step, part), draw)
                accelerator.backward(loss)
            total += loss.detach()
        told = torch.stack([total, torch.full_like(total, len(stop))])
        mean, stopped = accelerator.reduce(told, "mean").tolist()
        if not math.isfinite(mean):
            raise StillmotionError(
                f"the loss is {mean} at step {step}; lower --lr, set --clip-grad 1, or use --precision fp32"
            )
        if self.config.clip_grad is not None:
            accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.clip_grad)
        self.optimizer.step()
        return mean, stopped > 0

    def _loss(self, batch: Batch, weight: float, seed: int) -> Tensor:
        if not batch.labels.numel():  # every clip of this pass is bad: the other processes wait for its gradients
            batch, weight = self._any_good(), 0.0
        device = self.accelerator.device
        views = send_to_device(batch.views, device, non_blocking=True)
        batch = batch._replace(labels=batch.labels.to(device), views=views)
        prompts = self.objective.prompts(self.tokens, batch.labels, seed)
        inputs, targets = self.objective.targets(batch, seed)
        with self.accelerator.autocast():
            logits = self.wrapped(inputs, prompts)
        return self.objective.losses(logits, targets).sum() * weight

    def _any_good(self) -> Batch:
        """A batch of the first clip that can be read."""
        for index in range(len(self.dataset)):
            batch: Batch = self.dataset.collate([self.dataset[0, index]])
            if batch.labels.numel():
                return batch
        raise DataError("none of the training videos can be read")

    def _after(self, step: int) -> None:
        epoch, rest = divmod(step, self.plan.steps_per_epoch)
        every, last = self.config.eval_every, step == self.plan.total_steps
        if self.evaluate is not None and rest == 0 and (last or (every and epoch % every == 0)):
            self.model.eval()
            self._log(step, epoch=epoch, **self.evaluate(self.model))

    def _log(self, step: int, **values: float) -> None:
        self.folder.log(step=step, **values)
        self.accelerator.log(values, step=step)  # to trackers, if there are any

    def _loader(self, first: int) -> Iterator[Batch]:
        device = self.accelerator.device.type
        loader: DataLoader[Batch] = DataLoader(
            self.dataset,
            batch_sampler=self.plan.sampler(first),
            collate_fn=self.dataset.collate,
            num_workers=self.config.data_workers(device),
            pin_memory=device == "cuda",
        )
        return iter(loader)

    def _save(self, step: int) -> None:
        self._saved = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        scaler = self.accelerator.scaler
        self.folder.save_state(
            {
                "step": step,
                "model": {k: v for k, v in self.model.state_dict().items() if k in trained},
                "optimizer": self.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
            }
        )

    def _resume(self) -> int:
        state = self.folder.load_state()
        if state is None:
            self.folder.rewind(0)
            return 0
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        step = int(state["step"])
        self.folder.rewind(step)
        say(f"resuming at step {step} of {self.plan.total_steps}")
        return step


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or termination signal, so that a step is finished and saved; a second one kills."""
    caught: list[int] = []
    previous: dict[int, Any] = {}

    def handler(number: int, _: Any) -> None:
        caught.append(number)
        for again, old in previous.items():
            signal.signal(again, old)

    try:
        for sign in (signal.SIGINT, signal.SIGTERM):
            previous[sign] = signal.signal(sign, handler)
    except ValueError:  # not in the main thread: signals are somebody else's
        previous = {}
    try:
        yield caught
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
