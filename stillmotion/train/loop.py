"""The one training loop: it brings batches to a learner, keeps the time, stops and resumes at any step."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import Batch
from stillmotion.data.loader import batches, data_workers
from stillmotion.errors import DataError
from stillmotion.progress import progress_bar, say
from stillmotion.train.learner import Learner
from stillmotion.train.run_folder import RunFolder

Evaluate = Callable[[], dict[str, float]]


class Stopped(Exception):
    """The run was asked to stop; its state is saved, and the same command goes on from there."""


class Trainer:
    """Trains a learner, step by step, in the folder of its run.

    `dataset` has clips as videos or as cached features, indexed by (epoch, index), and a `collate`. `evaluate` is
    called at the end of epochs but the last, and returns numbers to log.
    """

    def __init__(
        self, learner: Learner, dataset: Any, folder: RunFolder, bad: BadVideos, evaluate: Evaluate | None = None
    ):
        self.learner, self.dataset, self.folder, self.bad, self.evaluate = learner, dataset, folder, bad, evaluate
        self.plan, self.config, self.accelerator = learner.plan, learner.config, learner.accelerator
        self._saved = time.monotonic()

    def run(self) -> None:
        """Train from the last saved state, or from the start, to the end.
        Raises `Stopped`: a signal asked to stop; the state is saved; `StillmotionError`: the loss is not finite, or too
        many videos are bad.
        """
        if self.config.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        first, total = self._resume(), self.plan.total_steps
        device = self.accelerator.device.type
        how = {"batch_sampler": self.plan.sampler(first), "collate_fn": self.dataset.collate}
        loader = batches(self.dataset, data_workers(self.config.workers, device), pin=device == "cuda", **how)
        with _stop_signals() as stop, progress_bar("training", total) as advance:
            advance(first)
            self._saved = time.monotonic()
            for step in range(first, total):
                started = time.perf_counter()
                loss, stopped = self._step(step, loader, stop)
                self.log(step, loss=loss, lr=self.learner.rate, seconds=round(time.perf_counter() - started, 4))
                advance(note=f"loss {loss:.3f}")
                if step + 1 == total:
                    return
                epoch, rest = divmod(step + 1, self.plan.steps_per_epoch)
                every = self.config.eval_every
                if self.evaluate is not None and every and rest == 0 and epoch % every == 0:
                    self.log(step + 1, epoch=epoch, **self.evaluate())
                if stopped:
                    self._save(step + 1)
                    self.accelerator.wait_for_everyone()  # a process that leaves early makes the launcher kill the rest
                    raise Stopped(f"stopped after step {step + 1} of {total}; run again to go on")
                if time.monotonic() - self._saved >= 60 * self.config.save_minutes:
                    self._save(step + 1)

    def log(self, step: int, **values: float) -> None:
        """Add a line to the run's metrics, and to trackers if there are any."""
        self.folder.log(step=step, **values)
        self.accelerator.log(values, step=step)

    def _step(self, step: int, loader: Iterator[Batch], stop: list[int]) -> tuple[float, bool]:
        for part in range(len(self.plan.micro_batches(step))):
            batch = next(loader)
            for bad in batch.bad:
                self.bad.add(bad)
            good = bool(batch.labels.numel())
            self.learner.accumulate(batch if good else self._any_good(), step, part, counts=good)
        return self.learner.update(step, stop=bool(stop))

    def _any_good(self) -> Batch:
        for index in range(len(self.dataset)):
            batch: Batch = self.dataset.collate([self.dataset[0, index]])
            if batch.labels.numel():
                return batch
        raise DataError("none of the training videos can be read")

    def _save(self, step: int) -> None:
        self._saved = time.monotonic()
        if self.accelerator.is_main_process:
            self.folder.save_state({"step": step, **self.learner.state()})

    def _resume(self) -> int:
        state = self.folder.load_state()
        step = 0 if state is None else int(state["step"])
        if state is not None:
            self.learner.load(state)
            say(f"resuming at step {step} of {self.plan.total_steps}")
        self.folder.rewind(step)
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
