"""Models of transformers and torchvision: the libraries' own logits and pixels, class names matched, or one line."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torchvision.models.video.mvit import MSBlockConfig

from stillmotion.data.sampling import Sampling
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.libraries.classifier import is_foreign, load_foreign, match_classes
from stillmotion.libraries.models import TorchvisionVideo
from stillmotion.libraries.read import CLIPS, ForeignPreprocess
from stillmotion.weights import hub

transformers = pytest.importorskip("transformers")

NAMES = ("running", "sitting down", "Left", "RIGHT")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PIXELS = {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 37}, "resample": 2}
KINDS = ("timesformer", "videomae", "vivit", "vjepa2")


def tiny(kind: str) -> tuple[Any, dict[str, Any]]:
    """A tiny model with random weights and the processor file of its release's form."""
    t, names = transformers, {"id2label": dict(enumerate(NAMES))}
    if kind == "timesformer":
        config = t.TimesformerConfig(image_size=32, patch_size=8, num_frames=4, **names, **TINY)
        old = {"feature_extractor_type": "VideoMAEFeatureExtractor", "image_mean": [0.45] * 3, "image_std": [0.225] * 3}
        return t.TimesformerForVideoClassification(config), old
    if kind == "videomae":
        config = t.VideoMAEConfig(image_size=32, patch_size=8, num_frames=4, **names, **TINY)
        return t.VideoMAEForVideoClassification(config), {"image_processor_type": "VideoMAEImageProcessor"}
    if kind == "vivit":
        config = t.VivitConfig(image_size=32, num_frames=4, tubelet_size=[2, 8, 8], **names, **TINY)
        shifted = {"image_processor_type": "VivitImageProcessor", "offset": True, "rescale_factor": 1 / 127.5}
        return t.VivitForVideoClassification(config), shifted | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    config = t.VJEPA2Config(
        crop_size=32,
        patch_size=8,
        frames_per_clip=4,
        hidden_size=48,
        num_attention_heads=2,
        num_hidden_layers=2,
        pred_hidden_size=48,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        num_pooler_layers=1,
        **names,
    )
    return t.VJEPA2ForVideoClassification(config), {"video_processor_type": "VJEPA2VideoProcessor"}


def save(kind: str, folder: Path) -> Any:
    torch.manual_seed(0)
    model, settings = tiny(kind)
    with torch.no_grad():  # heads start near zero, where all logits are alike
        for name, p in model.named_parameters():
            if name.startswith("classifier") and p.ndim == 2:
                p.normal_()
    model.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PIXELS | settings))
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Saved models of transformers, and the models themselves."""
    root = tmp_path_factory.mktemp("foreign")
    return {kind: (root / kind, save(kind, root / kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest model of torchvision, with random weights for its 400 classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("torchvision") / "mc3.pth"
    torch.save(torchvision.models.get_model("mc3_18", weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(folders: dict[str, tuple[Path, Any]], kind: str) -> None:
    folder, theirs = folders[kind]
    ours = load_foreign(f"transformers:{folder}", device="cpu")
    assert (ours.classes, ours.num_frames) == (NAMES, 4)
    video = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(**{theirs.main_input_name: video}).logits
        assert (ours.model.classify(video, None) - expected).abs().max() <= 1e-6
        assert torch.equal(ours.model(video, None), ours.model.classify(video, None))
    assert expected.std() > 0.01, "the case would not tell"


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_the_processor(folders: dict[str, tuple[Path, Any]], kind: str) -> None:
    folder, _ = folders[kind]
    ours = load_foreign(f"transformers:{folder}", device="cpu").preprocess
    processor = transformers.AutoVideoProcessor.from_pretrained(folder)
    for H, W in ((48, 91), (90, 47), (240, 320)):
        frames = torch.randint(0, 256, (4, 3, H, W), dtype=torch.uint8)
        expected = processor(videos=[frames], return_tensors="pt")[processor.model_input_names[0]][0]
        assert ours(frames).shape == (1, 4, 3, 32, 32)
        assert (ours(frames)[0] - expected).abs().max() <= 1e-5
        as_decoded = frames.contiguous(memory_format=torch.channels_last)
        assert (ours(as_decoded)[0] - expected).abs().max() <= 1e-5


def test_vivit_shifts_its_pixels(folders: dict[str, tuple[Path, Any]]) -> None:
    """Black is (0 - 1 - 0.5) / 0.5 and white (2 - 1 - 0.5) / 0.5, unlike what its mean and std say alone."""
    preprocess = load_foreign(f"transformers:{folders['vivit'][0]}", device="cpu").preprocess
    for value, expected in ((0, -3.0), (255, 1.0)):
        frames = torch.full((1, 3, 40, 40), value, dtype=torch.uint8)
        assert preprocess(frames).mean().item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["swin3d_t", "mvit"])
def test_logits_are_those_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    if name == "mvit":  # the published ones take 224 pixels only
        stride = {"stride_q": [1, 1, 1], "stride_kv": [1, 2, 2]}
        block = MSBlockConfig(2, 32, 32, kernel_q=[3, 3, 3], kernel_kv=[3, 3, 3], **stride)
        model: torch.nn.Module = torchvision.models.video.MViT(
            (32, 32), 4, [block] * 2, True, False, True, True, num_classes=5
        )
    else:
        model = torchvision.models.get_model(name, weights=None, num_classes=5)
    video = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        logits = TorchvisionVideo(model.eval()).classify(video, None)
        assert logits.shape == (1, 5)
        assert (logits - model(video.permute(0, 2, 1, 3, 4))).abs().max() <= 1e-6
        assert not torch.allclose(logits, TorchvisionVideo(model).classify(video.flip(1), None)), "time is an axis"


def test_heads_of_other_shapes_are_counted(tmp_path: Path) -> None:
    """S3D's last layer is a convolution; a file may hold its tensors in any order."""
    state = torchvision.models.get_model("s3d", weights=None, num_classes=3).state_dict()
    save_file(dict(sorted(state.items())), tmp_path / "three.safetensors")
    ours = load_foreign(f"torchvision:s3d:{tmp_path / 'three.safetensors'}", names=["a", "b", "c"], device="cpu")
    assert ours.classes == ("a", "b", "c")
    assert torch.equal(ours.model.model.classifier[1].weight, state["classifier.1.weight"])


def test_a_file_of_torchvision(resnet_file: Path) -> None:
    ours = load_foreign(f"torchvision:mc3_18:{resnet_file}", device="cpu")
    weights = torchvision.models.video.MC3_18_Weights.DEFAULT
    assert ours.classes == tuple(weights.meta["categories"])
    assert (ours.num_frames, ours.sampling) == (16, Sampling(scheme="dense", stride=2))
    theirs = torchvision.models.get_model("mc3_18", weights=None)
    theirs.load_state_dict(torch.load(resnet_file, weights_only=True))
    video = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.eval()(video.transpose(1, 2))
        assert (ours.model.classify(video, None) - expected).abs().max() <= 1e-6
    frames = torch.randint(0, 256, (2, 3, 211, 333), dtype=torch.uint8)
    assert torch.equal(ours.preprocess(frames)[0], weights.transforms()(frames).transpose(0, 1))


@pytest.mark.parametrize("name", torchvision.models.list_models(module=torchvision.models.video))
def test_every_model_of_torchvision_has_its_pixels_and_clip(name: str) -> None:
    (frames, stride) = next(clip for start, clip in CLIPS.items() if name.startswith(start))
    for weights in torchvision.models.get_model_weights(name):
        transforms, note = weights.transforms(), weights.meta["_docs"]
        assert f"clip_len={frames}`" in note
        assert 30 / stride == float(re.search(r"frame_rate=([\d.]+)`", note)[1])  # type: ignore[index]
        ours = ForeignPreprocess(
            size=tuple(transforms.crop_size),
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            interpolation="bilinear",
            resize_to=tuple(transforms.resize_size),
            library="torchvision",
        )
        clip = torch.randint(0, 256, (2, 3, 240, 321), dtype=torch.uint8)
        assert torch.allclose(ours(clip)[0], transforms(clip).transpose(0, 1), atol=1e-6)


def test_three_crops_lie_along_the_longer_side() -> None:
    ours = ForeignPreprocess(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1), resize_to=(32,))
    frames = torch.arange(65)[None, None, None].expand(1, 3, 32, 65).to(torch.uint8)
    lefts = (ours(frames, 3)[:, 0, 0, 0, 0] * 255).round().tolist()
    assert lefts == [0, 16, 33]


def test_classes_are_matched_by_name(folders: dict[str, tuple[Path, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    name = f"transformers:{folders['videomae'][0]}"
    whole = load_foreign(name, device="cpu")
    some = load_foreign(name, ["right", "left", "running"], device="cpu")
    assert "the logits of 3 of its 4 classes, matched with the data's by name" in capsys.readouterr().err
    assert some.classes == ("right", "left", "running")
    video = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(some.model.classify(video, None), whole.model.classify(video, None)[:, [3, 2, 0]])
    for classes, message in (
        (["runing", "Left"], r"not among the 4 classes of .*: 'runing' \(the nearest is 'running'\); rename"),
        (["zzz"], r"'zzz' \(the nearest is '"),
        (["left", "Left"], "'left' and 'Left' are both the class 'Left'"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_foreign(name, classes, device="cpu")


def test_names_that_two_classes_share_are_not_guessed() -> None:
    own = ("Sit_down", "sit down", "jump")
    assert match_classes(["jump", "sit down"], own, "m") == [2, 1]
    with pytest.raises(WeightsError, match="not among"):
        match_classes(["sit-down"], own, "m")


def test_logits_without_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = torchvision.models.get_model("mc3_18", weights=None, num_classes=3).state_dict()
    save_file(state, tmp_path / "three.safetensors")
    name = f"torchvision:mc3_18:{tmp_path / 'three.safetensors'}"
    with pytest.raises(WeightsError, match="has 3 logits and 0 class names; pass --labels with one name for each"):
        load_foreign(name, ["a", "b", "c"], device="cpu")
    named = load_foreign(name, ["c", "a"], names=["a", "b", "c"], device="cpu")
    whole = load_foreign(name, names=["a", "b", "c"], device="cpu")
    video = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(named.model.classify(video, None), whole.model.classify(video, None)[:, [2, 0]])


def test_a_closed_set_stays_closed(folders: dict[str, tuple[Path, Any]]) -> None:
    ours = load_foreign(f"transformers:{folders['timesformer'][0]}", device="cpu")
    with pytest.raises(StillmotionError, match="was trained for its 4 classes only"):
        ours.classes = ["a", "b"]
    assert ours.text is None


def test_what_lacks_tensors_is_not_filled_with_random_ones(
    folders: dict[str, tuple[Path, Any]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "headless"
    save("videomae", folder)
    state = load_file(folder / "model.safetensors")
    metadata = {"format": "pt"}
    save_file({k: v for k, v in state.items() if "classifier" not in k}, folder / "model.safetensors", metadata)
    capfd.readouterr()
    with pytest.raises(WeightsError, match=r"lacks 2 tensors of a video classification model, classifier\.bias"):
        load_foreign(f"transformers:{folder}", device="cpu")
    assert capfd.readouterr().err == "", "the error is the one line"
    save_file(state | {"more": torch.zeros(2)}, folder / "model.safetensors", metadata)
    assert load_foreign(f"transformers:{folder}", device="cpu").classes == NAMES
    assert "1 tensors are not used by the model, more for one" in capfd.readouterr().err


def test_folders_that_are_no_such_model(tmp_path: Path) -> None:
    def broken(change: dict[str, object] | None) -> str:
        save("videomae", tmp_path / "m")
        file = tmp_path / "m" / "preprocessor_config.json"
        if change is None:
            file.unlink()
        else:
            file.write_text(json.dumps(json.loads(file.read_text()) | change))
        return f"transformers:{tmp_path / 'm'}"

    for change, message in (
        (None, "is not a video classification model that transformers reads .*preprocessor_config"),
        (
            {"crop_size": {"height": 48, "width": 48}, "size": {"shortest_edge": 50}},
            r"the processor makes 48 x 48 pixels, config\.json says 32",
        ),
        ({"resample": 0}, "does more to frames than scaling"),
        ({"do_center_crop": False}, "does more to frames than scaling"),
        ({"size": {"shortest_edge": 37, "longest_edge": 40}}, "does more to frames than scaling"),
    ):
        with pytest.raises(WeightsError, match=message) as error:
            load_foreign(broken(change), device="cpu")
        assert "\n" not in str(error.value)
    save("videomae", tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="is not a video classification model that transformers reads"):
        load_foreign(f"transformers:{tmp_path / 'm'}", device="cpu")
    for nowhere in ("./nowhere", "a/b/c", "no folder"):
        with pytest.raises(WeightsError, match=rf"no folder {nowhere}.*; pass a local folder"):
            load_foreign(f"transformers:{nowhere}", device="cpu")


def test_models_of_torchvision_that_are_none(tmp_path: Path, resnet_file: Path) -> None:
    for name, message in (
        ("torchvision:swin3d", "no video model 'swin3d'; did you mean 'swin3d_"),
        ("torchvision:resnet18", "no video model 'resnet18'"),
        ("torchvision:mc3_18:KINETICS400_V2", "neither a file nor weights of mc3_18; did you mean 'KINETICS400_V1'"),
        (f"torchvision:r3d_18:{resnet_file}", "does not fit the model"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_foreign(name, device="cpu")

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "exploded").touch, ())

    torch.save({"fc.bias": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError):
        load_foreign(f"torchvision:mc3_18:{tmp_path / 'bomb.pth'}", device="cpu")
    assert not (tmp_path / "exploded").exists()


def test_without_a_hub_there_is_one_line_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 1.2)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(hub.urllib.request, "urlopen", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name, message in (
        (
            "transformers:some/model",
            r"no folder some/model here, .*\(no answer within 1 seconds\); pass a local folder",
        ),
        ("torchvision:swin3d_t", r"cannot download swin3d_t-\w+\.pth \(no answer .*torchvision:MODEL:FILE\.pth"),
        ("torchvision:swin3d_b:KINETICS400_IMAGENET22K_V1", r"cannot download swin3d_b_22k-"),
    ):
        started = time.perf_counter()
        with pytest.raises(WeightsError, match=message):
            load_foreign(name, device="cpu")
        assert time.perf_counter() - started < 10


def test_published_weights_come_from_the_cache(tmp_path: Path, resnet_file: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    weights = torchvision.models.video.MC3_18_Weights.KINETICS400_V1
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / weights.url.rpartition("/")[2]).write_bytes(resnet_file.read_bytes())
    video = torch.randn(1, 4, 3, 32, 32)
    by_name, by_file = (
        load_foreign(f"torchvision:mc3_18{rest}", device="cpu") for rest in (":KINETICS400_V1", f":{resnet_file}")
    )
    with torch.no_grad():
        assert torch.equal(by_name.model.classify(video, None), by_file.model.classify(video, None))


def test_without_transformers_the_install_line_is_given(
    folders: dict[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"pip install 'stillmotion\[transformers\]'"):
        load_foreign(f"transformers:{folders['vivit'][0]}", device="cpu")


def test_foreign_names() -> None:
    assert is_foreign("transformers:x/y")
    assert is_foreign("torchvision:swin3d_t")
    assert not any(
        map(is_foreign, ("transformers", "runs/evl/model.safetensors", "zero_shot", "C:\\model.safetensors"))
    )
