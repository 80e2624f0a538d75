"""Score a model on clips: each video once, over any number of processes, views averaged as probabilities."""

import time
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Batch
from stillmotion.errors import DataError
from stillmotion.eval.report import Scores
from stillmotion.progress import progress_bar


def score(
    model: nn.Module,
    dataset: Any,
    accelerator: Accelerator,
    text: Tensor | None = None,
    batch_size: int = 4,
    workers: int = 0,
    quiet: bool = False,
) -> Scores:
    """Return the class probabilities of every video, views averaged after the softmax.

    Args:
        model: in evaluation mode; called as model(views, text).
        dataset: clips, indexed by (epoch, index), with a `collate`; its views are the test views.
        text: class embeddings (K, E) that were encoded once; None for a closed set.
        batch_size: clips in one forward pass.

    Raises:
        DataError: no video could be read.
    """
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    keys = [[(0, i) for i in mine[start : start + batch_size]] for start in range(0, len(mine), batch_size)]
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_sampler=keys,
        collate_fn=dataset.collate,
        num_workers=workers,
    )
    found: list[tuple[int, int, list[float]]] = []
    bad: list[BadVideo] = []
    started = time.perf_counter()
    with progress_bar("" if quiet else "evaluating", len(keys)) as bar, torch.inference_mode():
        for batch in loader:
            bad += batch.bad
            if batch.labels.numel():
                views = send_to_device(batch.views, accelerator.device)
                with accelerator.autocast():
                    logits = model(views, text)
                probabilities = logits.float().softmax(dim=-1).unflatten(0, (-1, batch.num_views)).mean(dim=1)
                found += zip(batch.indices.tolist(), batch.labels.tolist(), probabilities.cpu().tolist())
            bar.advance()
    found, bad = sorted(gather_object(found)), gather_object(bad)
    indices = [i for i, _, _ in found]
    assert len(indices) == len(set(indices)), "a video was scored twice"
    assert len(indices) + len(bad) == len(dataset), f"scored {len(indices)} and skipped {len(bad)} of {len(dataset)}"
    if not found:
        raise DataError(f"none of the {len(dataset)} videos could be read ({bad[0].reason if bad else 'no videos'})")
    return Scores(
        indices=torch.tensor(indices),
        labels=torch.tensor([label for _, label, _ in found]),
        probabilities=torch.tensor([p for _, _, p in found]),
        bad=bad,
        total=len(dataset),
        seconds=time.perf_counter() - started,
    )
