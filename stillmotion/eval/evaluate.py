"""Score a model on clips: each once (in every order of frames), over any processes, views averaged as its clips say."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device, slice_tensors
from torch import Tensor, nn

from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Sample
from stillmotion.data.loader import batches, data_workers
from stillmotion.data.multi_label import hot
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.order import FULL
from stillmotion.eval.report import Scores, check_finite
from stillmotion.eval.views import average_views
from stillmotion.progress import progress_bar

BATCH_VIEWS = 8


@dataclass(frozen=True)
class OneProcess:
    """Stands for an `Accelerator` where this process alone scores, in full precision: it leaves global state alone."""

    device: torch.device
    process_index: ClassVar[int] = 0
    num_processes: ClassVar[int] = 1

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is cast."""
        return contextlib.nullcontext()


def score(
    model: nn.Module,
    dataset: Any,
    accelerator: Accelerator | OneProcess,
    text: Tensor | None = None,
    batch_views: int = BATCH_VIEWS,
    workers: int | None = None,
    quiet: bool = False,
) -> Scores:
    """Return the class probabilities of every video as it is; see `score_orders`, whose other arguments they are."""
    return score_orders(model, dataset, (FULL,), accelerator, text, batch_views, workers, quiet)[FULL]


def score_orders(
    model: nn.Module,
    dataset: Any,
    orders: Sequence[str],
    accelerator: Accelerator | OneProcess,
    text: Tensor | None = None,
    batch_views: int = BATCH_VIEWS,
    workers: int | None = None,
    quiet: bool = False,
) -> dict[str, Scores]:
    """Return the class probabilities of every video in each order of its frames, views averaged as the data set says.
    Raises `DataError`: no video could be read; `StillmotionError`: logits that are not finite.

    A video is read once for all orders, and let go of when it is scored in all of them.

    Args:
        model: in evaluation mode; called as model(views, text).
        dataset: labeled `clips`, indexed by (epoch, index), with a `collate`; its views are the test views,
            `average` says how their scores are averaged, and `in_order` puts them into an order.
        orders: names, `FULL` for the videos as they are.
        text: class embeddings (K, E) that were encoded once; None for a closed set.
        batch_views: views in one forward pass; those of a clip may be split over several.
        workers: processes that decode; None: none on a CPU, 8 with a GPU.
    """
    if batch_views < 1:
        raise StillmotionError(f"batch-views is {batch_views}; it must be at least 1")
    known = getattr(dataset, "orders", ())
    assert all(order == FULL or order in known for order in orders), f"{orders} of {tuple(known)}"
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    samples = batches(
        dataset, data_workers(workers, accelerator.device.type), keys=[(0, index) for index in mine], ahead=1
    )
    found: dict[str, list[tuple[int, int, list[float]]]] = {order: [] for order in orders}
    bad: list[BadVideo] = []
    started = time.perf_counter()
    with progress_bar("" if quiet else "evaluating", len(mine)) as advance, torch.inference_mode():
        for group in _groups(samples, batch_views):
            bad += [sample.bad for sample in group if sample.bad is not None]
            if good := [sample for sample in group if sample.bad is None]:
                for order in orders:
                    placed = [replace(s, views=dataset.in_order(s.views, order)) for s in good] if known else good
                    found[order] += _classify(placed, model, dataset, accelerator, text, batch_views)
            advance(len(group))
    seconds, everywhere = time.perf_counter() - started, accelerator.num_processes > 1
    bad = gather_object(bad) if everywhere else bad
    return {
        order: _scores(gather_object(rows) if everywhere else rows, bad, dataset, seconds)
        for order, rows in found.items()
    }


def _scores(rows: list[tuple[int, int, list[float]]], bad: list[BadVideo], dataset: Any, seconds: float) -> Scores:
    """The scores of all processes, in the order of the clips."""
    found = sorted(rows)
    indices = [i for i, _, _ in found]
    assert len(indices) == len(set(indices)), "a video was scored twice"
    assert len(indices) + len(bad) == len(dataset), f"scored {len(indices)} and skipped {len(bad)} of {len(dataset)}"
    if not found:
        raise DataError(f"none of the {len(dataset)} videos could be read ({bad[0].reason if bad else 'no videos'})")
    clips = [dataset.clips[index] for index in indices]
    return Scores(
        indices=torch.tensor(indices),
        targets=hot(clips, len(found[0][2])) if any(clip.labels for clip in clips) else None,
        labels=torch.tensor([label for _, label, _ in found]),
        probabilities=torch.tensor([p for _, _, p in found]),
        bad=tuple(bad),
        total=len(dataset),
        seconds=seconds,
    )


def _groups(samples: Iterable[Sample], batch_views: int) -> Iterator[list[Sample]]:
    """Clips with enough views for a forward pass; videos and cached outputs, which do not mix, are kept apart."""
    held: list[Sample] = []
    for sample in samples:
        if held and (type(sample.views) is not type(held[0].views) or sum(len(s.views) for s in held) >= batch_views):
            yield held
            held = []
        if sample.bad is not None:
            yield [sample]
        else:
            held.append(sample)
    if held:
        yield held


def _classify(
    samples: Sequence[Sample],
    model: nn.Module,
    dataset: Any,
    accelerator: Accelerator | OneProcess,
    text: Tensor | None,
    batch_views: int,
) -> list[tuple[int, int, list[float]]]:
    """Place, label and probabilities of each clip; `batch_views` of their views go through the model at a time."""
    batch = dataset.collate(samples)
    logits = []
    for start in range(0, batch.num_views * len(samples), batch_views):
        views = send_to_device(slice_tensors(batch.views, slice(start, start + batch_views)), accelerator.device)
        with accelerator.autocast():
            logits.append(model(views, text).float())
    logits_BVK = torch.cat(logits).unflatten(0, (-1, batch.num_views))
    check_finite(logits_BVK, [str(dataset.clips[sample.index].path) for sample in samples])
    probabilities = average_views(logits_BVK, dataset.average, getattr(model, "multi_label", False))
    return list(zip(batch.indices.tolist(), batch.labels.tolist(), probabilities.cpu().tolist()))
