"""open_clip's models with towers of others: equal to open_clip's own embeddings and logits, trained, saved, loaded."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

import stillmotion
from stillmotion.backbones import open_clip_towers
from stillmotion.backbones.load import backbone_of, load_backbone
from stillmotion.backbones.weights import load_into
from stillmotion.checkpoint import load_model
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.experiment import fit
from stillmotion.methods import EVL, XCLIP, LinearProbe, ViFiCLIP, ZeroShot
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.methods.frozen import assert_predicts_the_same

# open_clip's model, and the smallest tower of the same kind in the place of its own.
FAMILIES: dict[str, dict[str, Any]] = {
    "ViT-B-16-SigLIP": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224},
    "ViT-B-16-SigLIP2": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224},
    "EVA02-B-16": {"timm_model_name": "eva02_tiny_patch14_224", "image_size": 224},
    "PE-Core-B-16": {"timm_model_name": "vit_pe_core_tiny_patch16_384", "image_size": 384},
    "convnext_base": {"timm_model_name": "convnext_atto", "image_size": 64},
    "RN50": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64, "head_width": 8},
    "ViT-H-14-CLIPA": {
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
        "image_size": 48,
        "no_ln_pre": True,
        "final_ln_after_pool": False,
    },
}


def small(name: str) -> dict[str, Any]:
    """The same structure with a small text tower and the smallest image tower of its kind."""
    raw = copy.deepcopy(open_clip.get_model_config(name))
    raw["vision_cfg"] |= FAMILIES[name]
    raw["text_cfg"] |= {"width": 32, "heads": 2, "layers": 2, "vocab_size": 49408}
    raw["embed_dim"] = 192 if raw["vision_cfg"].get("timm_proj") == "none" else 24
    return raw


def make(name: str, folder: Path, seed: int = 0) -> tuple[Any, Path]:
    """open_clip's model with random weights, and its folder."""
    raw = small(name)
    torch.manual_seed(seed)
    kind = open_clip.CustomTextCLIP if raw.get("custom_text") else open_clip.CLIP
    model = kind(**{k: v for k, v in raw.items() if k != "custom_text"}).eval()
    with torch.no_grad():  # nothing at its initial zero or one
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    folder.mkdir(exist_ok=True, parents=True)
    for key in ("hf_tokenizer_name", "tokenizer_kwargs"):  # those are on the hub
        raw["text_cfg"].pop(key, None)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": raw, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}})
    )
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return model, folder


@pytest.mark.parametrize("name", FAMILIES)
def test_equals_open_clip(name: str, tmp_path: Path) -> None:
    theirs, folder = make(name, tmp_path)
    weights = load_backbone(str(folder))
    b = weights.backbone
    sigmoid = "SigLIP" in name
    assert (b.kind, b.sigmoid, b.pixels.std) == ("open_clip", sigmoid, (0.25,) * 3)
    assert b.text is not None and b.text.context_length == small(name)["text_cfg"].get("context_length", 77)
    model = ZeroShot().build(b, ["a"]).eval()
    load_into(model, weights.state, new=(), source="tiny")
    side = FAMILIES[name]["image_size"]
    video = torch.randn(2, 1, 3, side, side)
    tokens = torch.randint(3, 49000, (4, b.text.context_length))
    tokens[:, 9:] = 0
    tokens[torch.arange(4), torch.tensor([3, 8, 5, 6])] = 49407
    with torch.no_grad():
        frames = model.visual(video)["frames"]
        text = model.encode_text(tokens)
        assert (frames[:, 0] - theirs.encode_image(video[:, 0])).abs().max() <= 1e-5
        assert (text - theirs.encode_text(tokens)).abs().max() <= 1e-5
        logits, _ = theirs.get_logits(video[:, 0], tokens)
        assert (model(video, tokens) - logits).abs().max() <= 1e-5
        assert torch.equal(model.classify(video, text), model(video, tokens))
    assert (model.head.logit_bias is not None) == sigmoid
    assert not sigmoid or abs(model.head.logit_bias.item() - theirs.logit_bias.item()) < 1e-6


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "EVA02-B-16", "PE-Core-B-16"])
def test_another_image_size(name: str, tmp_path: Path) -> None:
    theirs, folder = make(name, tmp_path)
    weights = load_backbone(str(folder), image_size=(112, 224))
    tower = weights.backbone.visual(LinearProbe().reads()).eval()
    tower.load_state_dict({k: weights.state[f"visual.{k}"] for k in tower.state_dict()})
    theirs.visual.set_input_size((112, 224))
    x = torch.randn(2, 3, 112, 224)
    with torch.no_grad():
        assert (tower(x[None])["frames"][0] - theirs.encode_image(x)).abs().max() <= 1e-5


def test_one_rule_says_which_kind(tmp_path: Path) -> None:
    for name in (
        "ViT-B-16-SigLIP:webli",
        "EVA02-B-16:merged2b_s8b_b131k",
        "RN50:openai",
        "convnext_base:laion400m_s13b_b51k",
    ):
        assert open_clip_towers.has(name)
    for name in (
        "ViT-B-16:openai",
        "ViT-L-14-336:openai",
        "coca_ViT-B-32:laion2b",
        "roberta-ViT-B-32:laion2b",
        "none:a",
        "auto",
        str(tmp_path),
    ):
        assert not open_clip_towers.has(name)
    sizes = 0
    for name in open_clip.list_models():
        raw = open_clip.get_model_config(name)
        if open_clip_towers.has(f"{name}:x"):
            sizes += 1
            assert {*raw["vision_cfg"]} - {*open_clip_towers.APART} <= set(open_clip.CLIPVisionCfg.__dataclass_fields__)
    assert sizes > 60


def test_a_model_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny-EVA02.json").write_text(json.dumps(small("EVA02-B-16")))
    open_clip.add_model_config(tmp_path / "configs")
    _, folder = make("EVA02-B-16", tmp_path / "eva")
    file = folder / "open_clip_model.safetensors"
    weights = load_backbone(f"tiny-EVA02:{file}")
    assert weights.backbone.tokenizer == "tiny-EVA02"
    assert weights.fingerprint("text.") == load_backbone(str(folder)).fingerprint("text.")
    assert backbone_of(json.loads(json.dumps(weights.backbone.to_dict())), "a card") == weights.backbone
    with pytest.raises(WeightsError, match="no weights file"):
        load_backbone("tiny-EVA02:no/such.safetensors")
    with pytest.raises(WeightsError, match="vision_heads go with CLIP's local files"):
        load_backbone(f"tiny-EVA02:{file}", vision_heads=2)
    save_file({k: v for k, v in load_file(file).items() if k != "visual.trunk.pos_embed"}, file)
    with pytest.raises(WeightsError, match=r"missing visual\.tower\.trunk\.pos_embed"):
        load_backbone(f"tiny-EVA02:{file}")


def test_what_it_does_not_allow_is_refused_in_one_line(tmp_path: Path) -> None:
    _, folder = make("EVA02-B-16", tmp_path)
    backbone = load_backbone(str(folder)).backbone
    for method, message in (
        (ViFiCLIP(tuned="prompts", vision_prompts=2), "changes the image tower .*use a CLIP backbone"),
        (ViFiCLIP(tuned="prompts", text_prompts=2), "changes the text tower .*use a CLIP backbone"),
        (XCLIP(), "use a CLIP backbone"),
        (EVL(layers=1), "gives no"),
    ):
        with pytest.raises(StillmotionError, match=message) as error:
            method.build(backbone, ["a"])
        assert "\n" not in str(error.value)


TRAIN = Train(lr=1e-4, epochs=1, batch_size=4, device="cpu", workers=0, warmup=0)


@pytest.mark.parametrize("tuned", ["full", "image", "text"])
def test_fine_tuning_with_a_bias_and_a_tokenizer_of_its_own(tuned: Any, tmp_path: Path, folder_of_videos: Path) -> None:
    folder = with_tokenizer(make("ViT-B-16-SigLIP", tmp_path / "siglip")[1])
    method = ViFiCLIP(num_frames=1, tuned=tuned)
    recipe = Recipe(method=method, train=TRAIN, backbone=str(folder), image_size=32)
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run"))
    assert_predicts_the_same(result, method)
    kept = load_file(result.folder.model)
    assert {"head.logit_scale", "head.logit_bias"} <= kept.keys()
    assert any(k.startswith("visual.") for k in kept) == (tuned != "text")
    assert any(k.startswith("text.") for k in kept) == (tuned != "image")
    if tuned == "full":  # what was trained is a backbone again
        again = load_backbone(str(result.folder.model))
        assert torch.equal(again.state["logit_bias"], kept["head.logit_bias"])
        probe = LinearProbe(num_frames=1).build(again.backbone, ["a"])
        load_into(probe, again.state, new=("head.*",), source="again")


def test_a_probe_trains_from_a_cache(tmp_path: Path, folder_of_videos: Path) -> None:
    _, folder = make("PE-Core-B-16", tmp_path / "pe")
    method = LinearProbe(num_frames=2)
    recipe = Recipe(method=method, train=TRAIN, backbone=str(folder), image_size=64)
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    assert_predicts_the_same(result, method)
    assert {k.split(".")[0] for k in load_file(result.folder.model)} == {"head"}


def with_tokenizer(folder: Path) -> Path:
    """Put a tokenizer of words into an open_clip folder, as SigLIP's are."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate(["<pad>", "<unk>", "</s>", "a", "photo", "of", "left", "right", "."])}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")
    fast.save_pretrained(folder)
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "some/where",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return folder


def test_zero_shot_with_the_folders_own_tokenizer(tmp_path: Path) -> None:
    theirs, folder = make("ViT-B-16-SigLIP2", tmp_path)
    with_tokenizer(folder)
    weights = load_backbone(str(folder), image_size=32)
    model = ZeroShot(templates=("a photo of {}.",)).build(weights.backbone, ["left", "right"]).eval()
    load_into(model, weights.state, new=(), source="tiny")
    tokens = model.prompt(["left", "right"])
    assert tokens.shape == (2, 64)
    assert tokens[:, :4].tolist() == [[3, 4, 5, 6], [3, 4, 5, 7]], "canonicalized: the dot is gone"
    with torch.no_grad():
        assert (model.encode_text(tokens) - theirs.encode_text(tokens)).abs().max() <= 1e-5


def test_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def metadata(url: str, **_: Any) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(WeightsError, match=r"cannot download ViT-B-16-SigLIP:webli .*no route") as error:
        load_backbone("ViT-B-16-SigLIP:webli")
    assert "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="no pretrained tag 'weblo'; did you mean 'webli'"):
        load_backbone("ViT-B-16-SigLIP:weblo")


GOOD: dict[str, Any] = {
    "embed_dim": 24,
    "quick_gelu": False,
    "sigmoid": False,
    "tokenizer": "EVA02-B-16",
    "vision": {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_pool": "token",
        "timm_proj": None,
        "image_size": [224, 224],
    },
    "text": {"width": 32, "heads": 2, "layers": 2},
}
HOSTILE: list[dict[str, Any]] = [
    {"embed_dim": 1 << 40},
    {"embed_dim": 0},
    {"embed_dim": "24"},
    {"embed_dim": True},
    {"sigmoid": 1},
    {"tokenizer": 7},
    {"quick_gelu": None},
    {"vision": []},
    {"vision": {}},
    {"text": None},
    {"text": {"width": 33, "heads": 2, "layers": 1}},
    {"text": {"layers": 10**9}},
    {"text": {"layers": -1}},
    {"text": {"width": float("nan")}},
    {"text": {"vocab_size": 1 << 40}},
    {"text": {"hf_model_name": "evil/model"}},
    {"text": {"hf_tokenizer_name": "evil/model"}},
    {"text": {"evil": 1}},
    {"text": {"pool_type": "x" * 1000}},
    {"text": {"norm_kwargs": {"device": 1}}},
    {"text": {"heads": 0}},
    {"vision": GOOD["vision"] | {"timm_model_pretrained": True}},
    {"vision": GOOD["vision"] | {"image_size": [1 << 30] * 2}},
    {"vision": GOOD["vision"] | {"image_size": 224}},
    {"vision": GOOD["vision"] | {"timm_model_name": "hf-hub:evil/model"}},
    {"vision": GOOD["vision"] | {"timm_pool": "../.."}},
    {"vision": {"layers": [3] * 5, "image_size": [64, 64]}},
    {"vision": {"layers": [200_000], "image_size": [64, 64]}},
    {"vision": {"patch_size": 0, "image_size": [64, 64]}},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_sizes_in_a_card_are_refused(changes: dict[str, Any]) -> None:
    assert backbone_of({"kind": "open_clip", "sizes": GOOD, "pixels": {"size": [224, 224]}}, "a card")
    started = time.monotonic()
    raw = {"kind": "open_clip", "sizes": GOOD | changes, "pixels": {"size": [224, 224]}}
    with pytest.raises(WeightsError) as error:
        backbone_of(raw, "a card")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert time.monotonic() - started < 5


def test_a_checkpoint_of_it_loads_with_its_backbone_elsewhere(tmp_path: Path, folder_of_videos: Path) -> None:
    _, folder = make("EVA02-B-16", tmp_path / "eva")
    recipe = Recipe(method=LinearProbe(num_frames=1), train=TRAIN, backbone=str(folder), image_size=56)
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    moved = tmp_path / "moved"
    folder.rename(moved)
    with pytest.raises(StillmotionError):
        stillmotion.load(result.folder.model)
    assert load_model(result.folder.model, str(moved))[1].backbone.kind == "open_clip"
    _, other = make("EVA02-B-16", tmp_path / "other", seed=1)
    with pytest.raises(WeightsError, match="is not the backbone this model was trained on"):
        load_model(result.folder.model, str(other))
