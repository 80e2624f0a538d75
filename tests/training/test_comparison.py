"""The contrastive loss is over all clips of a step: any cut into passes gives the gradients of one pass."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from stillmotion.data.bad import BadVideo
from stillmotion.data.dataset import Batch, Sample
from stillmotion.methods import ActionCLIP
from stillmotion.training.batches import BatchPlan
from stillmotion.training.config import Train
from stillmotion.training.learner import Learner
from stillmotion.training.objective import Contrastive
from tests.conftest import tiny_backbone

TRAIN = Train(batch_size=6, device="cpu", workers=0)
LABELS = (0, 1, 2, 0, 1, 1)
NAMES = ("run", "jump", "sit down")


def learner(micro: int | None, pool: Any = "Transf") -> Learner:
    torch.manual_seed(3)
    method = ActionCLIP(num_frames=2, layers=1, pool=pool)
    model = method.build(tiny_backbone(), NAMES)
    plan = BatchPlan(6, 6, micro, 2, 0)
    train = replace(TRAIN, micro_batch=micro)
    return Learner(model, method.tune(), Contrastive(), train, plan, Accelerator(cpu=True), model.prompt(NAMES))


def batch(keys: list[tuple[int, int]], bad: tuple[int, ...] = ()) -> Batch:
    views = torch.randn(6, 1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Batch.of([Sample(i, LABELS[i], views[i], BadVideo(str(i), "bad") if i in bad else None) for _, i in keys])


def gradients(one: Learner, bad: tuple[int, ...] = ()) -> tuple[float, dict[str, Tensor]]:
    for part, keys in enumerate(one.plan.micro_batches(0)):
        read = batch(keys, bad)
        good = bool(read.labels.numel())
        one.accumulate(read if good else batch([(0, 0)]), 0, part, counts=good)
    found = {name: p.grad.clone() for name, p in one.model.named_parameters() if p.grad is not None}
    return one.update(0)[0], found


@pytest.mark.parametrize("bad", [(), (1,), (1, 4)])
@pytest.mark.parametrize("micro", [1, 2, 4])
def test_any_cut_gives_the_gradients_of_one_pass(micro: int, bad: tuple[int, ...]) -> None:
    whole, parts = gradients(learner(None), bad), gradients(learner(micro), bad)
    assert whole[0] > 0.1
    assert parts[0] == pytest.approx(whole[0], abs=1e-6)
    assert whole[1].keys() == parts[1].keys() and "head.logit_scale" in whole[1]
    for name, gradient in whole[1].items():
        assert (gradient - parts[1][name]).abs().max() <= 1e-5, name
    assert whole[1]["head.logit_scale"].abs() > 1e-4
    assert whole[1]["text.token_embedding.weight"].abs().max() > 1e-4


def test_one_pass_is_plain_backpropagation() -> None:
    """Against autograd through the model itself, for every tensor."""
    one, other = learner(None), learner(None)
    loss, found = gradients(one)
    read = batch(other.plan.micro_batches(0)[0])
    from stillmotion.training.objective import step_seed

    objective = Contrastive()
    prompts = objective.prompts(other.tokens, read.labels, step_seed(0, 0, 0), range(6))
    logits = other.model.train()(read.views, prompts)
    expected = objective.losses(logits, objective.compare(read.labels)).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    for name, p in other.model.named_parameters():
        if p.grad is not None:
            assert (p.grad - found[name]).abs().max() <= 1e-5, name


def test_dropout_is_the_same_in_both_forward_passes() -> None:
    """A class-token encoder has dropout: the embeddings that were compared are those that gradients go back through."""
    one = learner(2, pool="Transf_cls")
    seen: list[Tensor] = []
    one.model.temporal.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    gradients(one)
    first, again = seen[:3], seen[3:]
    # Kernels without gradients round differently; another draw of dropout would differ by tenths.
    assert len(again) == 3 and all((a - b).abs().max() <= 1e-5 for a, b in zip(first, again))
    assert (first[0] - first[1]).abs().max() > 0.1


def test_a_step_without_a_readable_clip_changes_no_gradient() -> None:
    loss, found = gradients(learner(2), bad=tuple(range(6)))
    assert loss == 0 and not any(gradient.any() for gradient in found.values())


def test_micro_batches_train(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    from stillmotion.data.source import Data
    from stillmotion.experiment import fit
    from stillmotion.recipes.base import Place, Recipe

    found = []
    for micro in (None, 2):
        train = Train(lr=1e-3, epochs=2, batch_size=5, micro_batch=micro, device="cpu", workers=0)
        recipe = Recipe(method=ActionCLIP(num_frames=2, layers=1), train=train, backbone=str(tiny_clip))
        fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / str(micro)))
        lines = [json.loads(line) for line in (tmp_path / str(micro) / "metrics.jsonl").read_text().splitlines()]
        found.append([line["loss"] for line in lines if "loss" in line])
    assert len(found[0]) == 4 and found[1] == pytest.approx(found[0], abs=1e-5)
