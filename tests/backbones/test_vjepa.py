"""V-JEPA 2: equal to transformers' own outputs, two frames a step, trained from a cache, saved and loaded."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import stillmotion
from stillmotion.backbones.load import backbone_of, load_backbone
from stillmotion.data.source import Data
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.eval.report import read_predictions
from stillmotion.experiment import Result, fit
from stillmotion.explain import Asked, explain
from stillmotion.methods import EVL, AttentiveProbe, LinearProbe, Step, ViFiCLIP
from stillmotion.models.features import Reads
from stillmotion.prediction import Prediction
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.methods.frozen import assert_predicts_the_same

transformers = pytest.importorskip("transformers")

TINY = {
    "crop_size": 32,
    "patch_size": 8,
    "hidden_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "mlp_ratio": 2.0,
    "frames_per_clip": 8,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
    "num_pooler_layers": 1,
}


def make(folder: Path, classifier: bool = False, seed: int = 0) -> tuple[Any, Path]:
    """A tiny model with random weights, and the folder that `save_pretrained` writes."""
    torch.manual_seed(seed)
    kind = transformers.VJEPA2ForVideoClassification if classifier else transformers.VJEPA2Model
    model = kind(transformers.VJEPA2Config(**TINY)).eval()
    with torch.no_grad():  # nothing at its initial zero or one
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model, folder


def tower_of(name: str, reads: Reads, **sizes: Any) -> tuple[Any, Any]:
    weights = load_backbone(name, **sizes)
    tower = weights.backbone.visual(reads).eval()
    tower.load_state_dict({k: weights.state[f"visual.{k}"] for k in tower.state_dict()})
    return weights.backbone, tower


@pytest.mark.parametrize("classifier", [False, True])
def test_equals_transformers(classifier: bool, tmp_path: Path) -> None:
    theirs, folder = make(tmp_path, classifier)
    backbone, ours = tower_of(f"vjepa2:{folder}", Reads(frames=True, out=(0, 1, 2)))
    assert (backbone.grid, backbone.prefix_tokens, backbone.time_stride, backbone.layers) == ((4, 4), 0, 2, 3)
    assert backbone.pixels.mean == (0.485, 0.456, 0.406)
    model = theirs.vjepa2 if classifier else theirs
    for T in (2, 8):
        video = torch.randn(2, T, 3, 32, 32)
        with torch.no_grad():
            found = ours(video)
            expected = model(video, skip_predictor=True, output_hidden_states=True)
        steps = T // 2
        for i in range(3):
            tokens = expected.hidden_states[i + 1].unflatten(1, (steps, 16))
            assert (found[f"out.{i}"] - tokens).abs().max() <= 1e-5
            assert found[f"out.{i}"].shape[1:] == backbone.shape(f"out.{i}", T)
        pooled = expected.last_hidden_state.unflatten(1, (steps, 16)).mean(2)
        assert (found["frames"] - pooled).abs().max() <= 1e-5
        assert found["frames"].shape == (2, *backbone.shape("frames", T))
        normed = model.encoder.layernorm(found["out.2"].flatten(1, 2))
        assert (normed - expected.last_hidden_state).abs().max() <= 1e-5, "the last block's output is not normed"


def test_another_image_size(tmp_path: Path) -> None:
    _, folder = make(tmp_path)
    bigger = transformers.VJEPA2Model.from_pretrained(folder, crop_size=48).eval()
    backbone, ours = tower_of(f"vjepa2:{folder}", Reads(frames=True), image_size=48)
    assert backbone.grid == (6, 6)
    video = torch.randn(1, 4, 3, 48, 48)
    with torch.no_grad():
        expected = bigger(video, skip_predictor=True).last_hidden_state.unflatten(1, (2, 36)).mean(2)
        assert (ours(video)["frames"] - expected).abs().max() <= 1e-5
    for size, message in (
        ((32, 48), "reads squares"),
        (36, "no multiple of this backbone's 8-pixel patches; use 32 or 40"),
        (4, "use 8"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_backbone(f"vjepa2:{folder}", image_size=size)


def test_tokens_alone_come_from_a_smaller_tower(tmp_path: Path) -> None:
    _, folder = make(tmp_path)
    _, ours = tower_of(f"vjepa2:{folder}", Reads(out=(1,)))
    _, whole = tower_of(f"vjepa2:{folder}", Reads(frames=True, out=(1,)))
    video = torch.randn(1, 4, 3, 32, 32)
    assert torch.equal(ours(video)["out.1"], whole(video)["out.1"])
    assert len(ours.encoder.layer) == 2
    ours(video)["out.1"].square().sum().backward()
    assert all(p.grad is not None for p in ours.parameters())


def test_frames_come_in_pairs(tmp_path: Path, folder_of_videos: Path) -> None:
    backbone, tower = tower_of(f"vjepa2:{make(tmp_path / 'v')[1]}", Reads(frames=True))
    with pytest.raises(StillmotionError, match="num-frames is 3; this backbone takes 2 frames a step: choose"):
        tower(torch.randn(1, 3, 3, 32, 32))
    for method in (LinearProbe(num_frames=3), Step(num_frames=3, heads=2), AttentiveProbe(num_frames=5, heads=2)):
        recipe = Recipe(method=method, train=TRAIN, backbone=f"vjepa2:{tmp_path / 'v'}")
        with pytest.raises(StillmotionError, match=r"takes 2 frames a step: choose a multiple"):
            fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
        assert not (tmp_path / "run").exists(), "nothing half-written"
    model = Step(num_frames=8, heads=2).build(backbone, ["a"])
    assert model.temporal.positions.shape == (4, 48)
    with pytest.raises(StillmotionError, match=r"positions for 4 frames, the video has 2; .*a tubelet counts as one"):
        model.classify(torch.randn(1, 4, 3, 32, 32))
    model.temporal.resize_time(2)
    assert model.classify(torch.randn(1, 4, 3, 32, 32)).shape == (1, 1)


TRAIN = Train(lr=1e-3, epochs=2, batch_size=4, device="cpu", workers=0)


@pytest.mark.parametrize(
    "method",
    [
        LinearProbe(num_frames=4),
        AttentiveProbe(num_frames=4, heads=2),
        Step(num_frames=4, heads=2),
        EVL(num_frames=4, layers=2, heads=2, cross_attention=False),
    ],
)
def test_trains_from_a_cache_and_predicts_the_same(method: Any, tmp_path: Path, folder_of_videos: Path) -> None:
    _, folder = make(tmp_path / "vjepa")
    recipe = Recipe(method=method, train=TRAIN, backbone=f"vjepa2:{folder}")
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    assert_predicts_the_same(result, method)
    assert not any(k.startswith("visual.") for k in load_file(result.folder.model))


def test_other_orders_are_those_of_videos(tmp_path: Path, folder_of_videos: Path) -> None:
    """A step of two frames is not that of the same frames in another order, so that the cache cannot tell."""
    _, folder = make(tmp_path / "vjepa")
    recipe = Recipe(method=Step(num_frames=4, heads=2), train=TRAIN, backbone=f"vjepa2:{folder}")
    place = Place(out=tmp_path / "run", cache=tmp_path / "cache", order_test=True)
    result = fit(recipe, Data(data=folder_of_videos), place)
    again = stillmotion.evaluate(stillmotion.load(result.folder.model, device="cpu"), data=held(result, tmp_path),
                                 order_test=True)  # fmt: skip
    assert result.report.order is not None and result.report.order == again.order
    assert not any(k.startswith("visual.") for k in load_file(result.folder.model))


def held(result: Result, folder: Path) -> Path:
    """The held-out clips of a run, as a list file."""
    paths = read_predictions(result.folder.path / "predictions.jsonl").paths
    (folder / "held.txt").write_text("".join(f"{path} {Path(path).parent.name}\n" for path in paths))
    return folder / "held.txt"


def test_what_it_does_not_give_is_refused_in_one_line(tmp_path: Path) -> None:
    backbone = load_backbone(f"vjepa2:{make(tmp_path)[1]}").backbone
    with pytest.raises(StillmotionError, match=r"gives no 'affinity' here, frames, out alone; pass --no-cr"):
        EVL(layers=2).build(backbone, ["a"])
    with pytest.raises(StillmotionError, match="no class tokens"):
        EVL(layers=2, cross_attention=False, tokens="class_tokens").build(backbone, ["a"])
    recipe = Recipe(method=ViFiCLIP(num_frames=4), train=TRAIN, backbone=f"vjepa2:{tmp_path}")
    with pytest.raises(StillmotionError, match="holds an image tower only"):
        fit(recipe, Data(data=tmp_path), Place(out=tmp_path / "run"))


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def metadata(url: str, **_: Any) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"no folder facebook/vjepa2-x here, .*no route.*; pass a local folder"):
        load_backbone("vjepa2:facebook/vjepa2-x")
    assert time.monotonic() - started < 8
    _, folder = make(tmp_path)
    with pytest.raises(WeightsError, match="activation go with CLIP's local files"):
        load_backbone(f"vjepa2:{folder}", activation="gelu")
    config = json.loads((folder / "config.json").read_text())
    for changes, message in (
        ({"model_type": "clip"}, "is a model of type 'clip'; pass one of type vjepa2"),
        ({"hidden_size": 96}, "does not fit the model"),
        ({"num_hidden_layers": 2}, "not in the model"),
        ({"hidden_size": "48"}, "hidden_size is '48'; it must be a int"),
    ):
        (folder / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(WeightsError, match=message) as error:
            load_backbone(f"vjepa2:{folder}")
        assert "\n" not in str(error.value)


def test_without_transformers_the_line_to_install_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = make(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"pip install 'stillmotion\[transformers\]'"):
        load_backbone(f"vjepa2:{folder}")


GOOD = {
    "crop_size": 32,
    "patch_size": 8,
    "tubelet_size": 2,
    "hidden_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "mlp_ratio": 2.0,
    "qkv_bias": True,
    "layer_norm_eps": 1e-6,
}


@pytest.mark.parametrize("key", GOOD)
@pytest.mark.parametrize("value", [None, "2", -1, 1 << 40, float("nan"), float("inf"), [2], {}])
def test_hostile_sizes_in_a_card_are_refused_before_anything_is_built(key: str, value: Any) -> None:
    assert backbone_of({"kind": "vjepa2", "sizes": GOOD, "pixels": {}}, "a card").width == 48
    for sizes in (GOOD | {key: value}, {k: v for k, v in GOOD.items() if k != key}):
        with pytest.raises(WeightsError) as error:
            backbone_of({"kind": "vjepa2", "sizes": sizes, "pixels": {}}, "a card")
        assert "\n" not in str(error.value)


def test_a_checkpoint_of_it_asks_for_its_own_backbone(tmp_path: Path, folder_of_videos: Path) -> None:
    _, folder = make(tmp_path / "vjepa")
    recipe = Recipe(method=LinearProbe(num_frames=2), train=TRAIN, backbone=f"vjepa2:{folder}")
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    _, other = make(tmp_path / "other", seed=1)
    with pytest.raises(WeightsError, match="is not the backbone this model was trained on"):
        stillmotion.load(result.folder.model, backbone=f"vjepa2:{other}")


def test_a_query_over_tubelets_is_spread_over_their_frames(tmp_path: Path) -> None:
    """It has no class token; each of two frames of a step has half of the step's attention."""
    backbone, tower = tower_of(f"vjepa2:{make(tmp_path)[1]}", Reads(out=(-1,)))
    model = AttentiveProbe(num_frames=4, heads=2).build(backbone, ["a", "b"]).eval()
    model.visual.load_state_dict(tower.state_dict())
    video, said = torch.randn(1, 4, 3, 32, 32), Prediction("a", 1.0, {"a": 1.0, "b": 0.0})
    found = explain(model, video, Asked(("a", "b"), None, ("a",)), said, Preprocess(size=(32, 32)))
    assert set(found.maps) == {"query"}
    with torch.no_grad():
        weights = model.temporal.attention(model.visual(video))[0].mean((0, 1)).view(2, 4, 4)
        still = [model.classify(video[:, [t] * 4]).softmax(-1)[0, 0] for t in range(4)]
    assert (found.maps["query"].weights - weights[[0, 0, 1, 1]] / 2).abs().max() <= 1e-6
    assert (found.frame_scores - torch.stack(still)).abs().max() <= 1e-5
    assert found.missing["tower"] == "this image tower has no class token that shows its attention"
