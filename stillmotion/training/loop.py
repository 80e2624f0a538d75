"""The one training loop: it brings batches to learners, keeps the time, stops and resumes at any step."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from torch.utils.data import Dataset

from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import Batch
from stillmotion.data.loader import batches, data_workers, shared_workers
from stillmotion.errors import DataError
from stillmotion.progress import progress_bar, say
from stillmotion.training.best import Best
from stillmotion.training.clock import Clock
from stillmotion.training.learner import Diverged, Learner
from stillmotion.training.pace import Pace
from stillmotion.training.run_folder import RunFolder
from stillmotion.training.signals import stop_signals

Evaluate = Callable[[int], dict[str, float]]
Callback = Callable[[dict[str, float]], None]
_Part: TypeAlias = tuple[Any, tuple[Any, ...]]
"""What a batch holds: the content of its data set, and the keys of its clips."""


NUMBERS = {"top1": "top-1", "mean_ap": "mAP"}
"""Names of numbers in a line."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop; its state is saved, and the same command goes on from there."""


class Trainer:
    """Trains a learner, step by step, in the folder of its run.

    `dataset` has clips as videos or as cached features, indexed by (epoch, index), and a `collate`. `evaluate` is
    called at the end of epochs (counted from 1), and returns numbers to log, first the one to choose by; behind the
    last one it is called only where the best epoch is kept, for who trains scores that one anyway. `callback` is called
    with every line of the metrics.
    """

    def __init__(
        self,
        learner: Learner,
        dataset: Any,
        folder: RunFolder,
        bad: BadVideos,
        evaluate: Evaluate | None = None,
        callback: Callback | None = None,
    ):
        self.learner, self.dataset, self.folder, self.bad = learner, dataset, folder, bad
        self.evaluate, self.callback = evaluate, callback
        self.plan, self.config, self.accelerator = learner.plan, learner.config, learner.accelerator
        self.best = Best(self.config.keep, self.config.patience)
        self.loss, self.told = 0.0, ""
        self.diverged: Diverged | None = None
        self.pace = Pace()
        self._saved, self._spent, self._waited = time.monotonic(), 0.0, 0.0

    def begin(self) -> int:
        """Load the saved state if there is one; the first step to take."""
        if self.config.track:
            numbers = {name: str(value) for name, value in asdict(self.config).items()}
            self.accelerator.init_trackers("stillmotion", config=numbers)
        state = self.folder.load_state()
        step = 0 if state is None else int(state["step"])
        if state is not None:
            self.best.load(state.get("best", {}))
            self.learner.load(state)
            say(f"resuming at step {step} of {self.plan.total_steps}")
        elif self.folder.begun:
            say("starting over: what was here ended before it saved a state to go on from (--save-minutes)")
        self.folder.rewind(step)
        if self.accelerator.is_main_process:  # which alone speaks, and has dropped what a kill cut short
            self.pace = Pace.of(self.folder.read_metrics(), step - step % self.plan.steps_per_epoch)
        self._saved = time.monotonic()
        return self.plan.total_steps if self.best.exhausted else step

    def advance(self, step: int, loader: Iterator[Batch], stop: list[int]) -> bool:
        """Take one step, and what is due behind it; whether any process was asked to stop."""
        self._spent, self._waited = 0.0, 0.0
        self.loss, (stopped, save) = self._step(step, loader, stop)
        took, videos = {"seconds": round(self._spent, 4), "waited": round(self._waited, 4)}, len(self.plan.batch(step))
        self.log(step, loss=self.loss, lr=self.learner.rate, videos=videos, **took)
        self.pace.add(videos, self.loss, self._spent, self._waited)
        epoch, rest = divmod(step + 1, self.plan.steps_per_epoch)
        last, every = step + 1 == self.plan.total_steps, self.config.eval_every
        if rest == 0:
            self.told, self.pace = str(self.pace), Pace()
            due = self.config.keep == "best" if last else every and epoch % every == 0
            if self.evaluate is not None and due:
                self._evaluate(step + 1, epoch, self.evaluate)
        if save and not last:
            self.save(step + 1)
        return stopped

    def save(self, step: int) -> None:
        """Write the state to go on from at a step; all processes call it."""
        self._saved = time.monotonic()
        state = {"step": step, "best": self.best.state(), **self.learner.state()}
        if self.accelerator.is_main_process:
            self.folder.save_state(state)

    @property
    def over(self) -> bool:
        """Whether no more steps are to be taken, before the last one."""
        return self.best.exhausted or self.diverged is not None

    @property
    def last_epoch(self) -> int:
        """The epoch, counted from 1, whose weights the run ends with."""
        best = self.best
        if best.keep == "best" and best.epoch is not None:
            return best.epoch
        return best.last if best.exhausted else self.config.epochs

    def settle(self) -> None:
        """Give the learner the weights that its run keeps."""
        self.learner.settle(self.best.weights)

    def log(self, step: int, **values: float) -> None:
        """Add a line to the run's metrics, and to trackers if there are any."""
        self.folder.log(step=step, **values)
        self.accelerator.log(values, step=step)
        if self.callback is not None:
            self.callback({"step": step, **values})

    def _evaluate(self, step: int, epoch: int, evaluate: Evaluate) -> None:
        numbers = evaluate(epoch)
        self.log(step, epoch=epoch, **numbers)
        name, value = next(iter(numbers.items()))
        self.best.see(epoch, value, self.learner.weights())
        self.told += f", validation {NUMBERS.get(name, name)} {100 * value:.1f} %"
        if self.best.exhausted and step < self.plan.total_steps:
            say(f"no better than epoch {self.best.epoch} for {self.best.worse} evaluations: ended after epoch {epoch}")

    def _step(self, step: int, loader: Iterator[Batch], stop: list[int]) -> tuple[float, list[bool]]:
        for part in range(len(self.plan.micro_batches(step))):
            asked = time.perf_counter()
            batch = next(loader)
            self._waited += time.perf_counter() - asked
            for bad in batch.bad:
                self.bad.add(bad)
            good, started = bool(batch.labels.numel()), time.perf_counter()
            self.learner.accumulate(batch if good else self._any_good(), step, part, counts=good)
            self._spent += time.perf_counter() - started
        started = time.perf_counter()
        due = (
            time.monotonic() - self._saved >= 60 * self.config.save_minutes
        )  # here; the first process to say so decides
        result = self.learner.update(step, bool(stop), due)
        self._spent += time.perf_counter() - started
        return result

    def _any_good(self) -> Batch:
        for index in range(len(self.dataset)):
            batch: Batch = self.dataset.collate([self.dataset[0, index]])
            if batch.labels.numel():
                return batch
        raise DataError("none of the training videos can be read")


def train_together(trainers: Sequence[Trainer]) -> None:
    """Train several learners, epoch by epoch and in turn, so that those with the same clips share each batch.
    Raises `Stopped`: a signal asked to stop; all states are saved; `StillmotionError`: too many videos are bad, or the
    loss of the only learner is not finite; of one of several its trainer says so (`diverged`), and the others go on.

    Each ends with the bits that it would have alone: what is random in a step depends on the step's place only.
    """
    next_steps = [trainer.begin() for trainer in trainers]
    turns = [(i, step) for i, step in _turns(trainers) if step >= next_steps[i]]
    total = sum(trainer.plan.total_steps for trainer in trainers)
    loader = _alone(trainers[0], turns) if len(trainers) == 1 else _shared(trainers, turns)
    with stop_signals() as stop, progress_bar("training", total) as advance:
        advance(total - len(turns))
        clock = Clock(trainers, turns)
        for i, step in turns:
            trainer = trainers[i]
            if all(t.over for t in trainers):
                break
            stopped = not trainer.over and _take(trainer, step, loader, stop, alone=len(trainers) == 1)
            next_steps[i] = step + 1
            advance(note=f"loss {trainer.loss:.3f}")
            clock.tick(i, step)
            if stopped and any(n < t.plan.total_steps for n, t in zip(next_steps, trainers)):
                for n, t in zip(next_steps, trainers):
                    if t.diverged is None:
                        t.save(n)
                trainer.accelerator.wait_for_everyone()  # a process that leaves early makes the launcher kill the rest
                raise Stopped(f"stopped after step {sum(next_steps)} of {total}; run again to go on")
    for trainer in trainers:
        trainer.settle()


def _take(trainer: Trainer, step: int, loader: Iterator[Batch], stop: list[int], alone: bool) -> bool:
    try:
        return trainer.advance(step, loader, stop)
    except Diverged as error:
        if alone:
            raise
        trainer.diverged = error
        say(f"{trainer.folder.path}: {error}; the others go on")
        return False


def _turns(trainers: Sequence[Trainer]) -> list[tuple[int, int]]:
    """(learner, step) in the order of training: by epoch, and by the part of it that is done."""
    places = []
    for i, trainer in enumerate(trainers):
        per_epoch = trainer.plan.steps_per_epoch
        for step in range(trainer.plan.total_steps):
            epoch, rest = divmod(step, per_epoch)
            places.append(((epoch, (rest + 1) / per_epoch, i), (i, step)))
    return [turn for _, turn in sorted(places)]


def _alone(trainer: Trainer, turns: Sequence[tuple[int, int]]) -> Iterator[Batch]:
    device = trainer.accelerator.device.type
    keys = (part for _, step in turns for part in trainer.plan.micro_batches(step))
    how = {"batch_sampler": keys, "collate_fn": trainer.dataset.collate}
    return batches(trainer.dataset, data_workers(trainer.config.workers, device), pin=device == "cuda", **how)


def _shared(trainers: Sequence[Trainer], turns: Sequence[tuple[int, int]]) -> Iterator[Batch]:
    """Batches of all learners; the parts of a step are made once for all that read the same.

    Those of a learner that is over by the time of its turn are left out, as its turn is. This process reads, and keeps
    what it read in memory, unless workers were asked for, which read ahead.
    """

    def wanted(i: int, step: int) -> list[_Part]:
        content = getattr(trainers[i].dataset, "content", id(trainers[i].dataset))
        return [(content, tuple(keys)) for keys in trainers[i].plan.micro_batches(step)]

    def ask() -> Iterator[list[tuple[int, Any]]]:
        """What is to be read, in the order of training, as the loader asks for it."""
        for i, step in turns:
            if not trainers[i].over:
                parts = wanted(i, step)
                for part in dict.fromkeys(part for part in parts if part not in last):
                    asked.append(part)
                    yield [(i, key) for key in part[1]]
                last[:] = parts

    asked, last, held = deque[_Part](), list[_Part](), dict[_Part, Batch]()
    together, device = _Together([t.dataset for t in trainers]), trainers[0].accelerator.device.type
    workers = max(shared_workers(t.config.workers) for t in trainers)
    how: dict[str, Any] = {"batch_sampler": ask(), "collate_fn": together.collate}
    loader = batches(together, workers, pin=device == "cuda" and workers > 0, **how)
    for i, step in turns:
        if trainers[i].over:
            continue
        parts = wanted(i, step)
        for part in parts:
            while part not in held:  # what is met on the way was for a learner that is over by now
                batch = next(loader)
                held[asked.popleft()] = batch
        # What was asked for last is not asked for again at the next turn.
        held = {part: batch for part, batch in held.items() if part in parts or part in last}
        yield from (held[part] for part in parts)


class _Together(Dataset[Any]):
    """Clips of several data sets, indexed by (data set, key)."""

    def __init__(self, datasets: Sequence[Any]):
        self.datasets = datasets

    def __getitem__(self, key: tuple[int, Any]) -> tuple[int, Any]:
        return key[0], self.datasets[key[0]][key[1]]

    def lost(self, key: tuple[int, Any], why: str) -> tuple[int, Any]:
        return key[0], self.datasets[key[0]].lost(key[1], why)

    def collate(self, samples: Sequence[tuple[int, Any]]) -> Batch:
        batch: Batch = self.datasets[samples[0][0]].collate([sample for _, sample in samples])
        return batch
