"""timm's towers: equal to timm's own outputs, resampled as timm does, refused in one line, and trained from a cache."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import Tensor

import stillmotion
from stillmotion.backbones.load import backbone_of, load_backbone
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.experiment import fit
from stillmotion.methods import EVL, AttentiveProbe, LinearProbe, Step
from stillmotion.models.affinity import neighbor_affinity
from stillmotion.models.class_attention import ClassAttention
from stillmotion.models.features import Reads
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.methods.frozen import assert_predicts_the_same

TINY: dict[str, Any] = {"depth": 3, "embed_dim": 64, "num_heads": 2}
# A family, its tiny arguments, its input size, its prefix tokens, and whether its queries and keys can be had.
FAMILIES: dict[str, tuple[str, dict[str, Any], int, int, bool]] = {
    "plain": ("vit_tiny_patch16_224", TINY, 48, 1, True),
    "dinov2": ("vit_small_patch14_reg4_dinov2", TINY, 42, 5, True),
    "dinov3": ("vit_small_patch16_dinov3", TINY, 48, 5, True),
    "siglip2": ("vit_base_patch16_siglip_224", TINY, 48, 0, True),
    "pe_core": ("vit_pe_core_tiny_patch16_384", TINY, 48, 1, True),
    "eva02": ("eva02_tiny_patch14_224", TINY, 42, 1, True),
    "eva": ("eva_giant_patch14_224", TINY | {"mlp_ratio": 2.0}, 42, 1, True),
    "mixed_rope": ("vit_small_patch16_rope_mixed_224", TINY, 48, 1, True),
    "diff_attention": ("vit_dlittle_patch16_reg1_gap_256", TINY, 48, 1, False),
}


def make(family: str, folder: Path, size: tuple[int, int] | None = None, seed: int = 0) -> tuple[Any, Path]:
    """Timm's model with random weights, and a folder in its own layout."""
    name, args, side, _, _ = FAMILIES[family]
    torch.manual_seed(seed)
    args = args | {"img_size": size or (side, side)}
    model = timm.create_model(name, num_classes=0, **args).eval()
    with torch.no_grad():  # nothing at its initial zero or one
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_for_hf(model, str(folder), model_args=args, safe_serialization=True)
    return model, folder


def tower_of(name: str, reads: Reads, **sizes: Any) -> tuple[Any, Any]:
    weights = load_backbone(name, **sizes)
    tower = weights.backbone.visual(reads).eval()
    tower.load_state_dict({k: weights.state[f"visual.{k}"] for k in tower.state_dict()})
    return weights, tower


def captured(model: Any, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys as they reach the real attention, one pair for each block."""
    pairs: list[tuple[Tensor, Tensor]] = []
    real = F.scaled_dot_product_attention

    def spy(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
        pairs.append((q, k))
        return real(q, k, v, **more)

    with monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", spy)
        model.forward_features(x)
    return pairs


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_timm(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, side, prefix, has_affinity = FAMILIES[family]
    theirs, folder = make(family, tmp_path)
    affinity = (0, -1) if has_affinity else ()
    weights, ours = tower_of(f"timm:{folder}", Reads(frames=True, out=(0, -1), affinity=affinity))
    b = weights.backbone
    assert (b.prefix_tokens, b.width, b.layers, "affinity" in b.offers) == (prefix, 64, 3, has_affinity)
    config = timm.data.resolve_model_data_config(theirs)
    assert (b.pixels.mean, b.pixels.std, b.pixels.interpolation) == (
        config["mean"],
        config["std"],
        config["interpolation"],
    )
    assert b.sizes["model"] == name
    video = torch.randn(2, 3, 3, side, side)
    x = video.flatten(0, 1)
    with torch.no_grad():
        found = ours(video)
        last, middle = theirs.forward_intermediates(
            x, indices=[0, 2], norm=False, output_fmt="NLC", return_prefix_tokens=prefix > 0
        )
        whole = theirs(x)
        pooled = theirs.forward_head(last, pre_logits=True)
        pairs = captured(theirs, x, monkeypatch) if has_affinity else []
    assert set(found) == {"frames", "out.0", "out.2"} | ({"affinity.0", "affinity.2"} if affinity else set())
    assert (found["frames"].flatten(0, 1) - pooled).abs().max() <= 1e-5
    assert (found["frames"].flatten(0, 1) - whole).abs().max() <= 1e-5
    for i, tokens in zip((0, 2), middle):
        tokens = torch.cat([tokens[1], tokens[0]], dim=1) if prefix else tokens
        assert (found[f"out.{i}"].flatten(0, 1) - tokens).abs().max() <= 1e-5
    for name_, tensor in found.items():
        assert tensor.shape[1:] == b.shape(name_, 3)
    for i in (0, 2) if affinity else ():
        q, k = (t[:, :, prefix:].unflatten(0, (2, 3)) for t in pairs[i])
        assert (found[f"affinity.{i}"] - neighbor_affinity(q, k)).abs().max() <= 1e-5
        assert found[f"affinity.{i}"].std() > 1e-4, "it is not uniform"


@pytest.mark.parametrize("family", [f for f, (_, _, _, prefix, known) in FAMILIES.items() if prefix and known])
def test_class_token_attention_equals_timms(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the queries and keys that reach timm's own attention, in every block; and the outputs stay the same."""
    theirs, folder = make(family, tmp_path)
    weights, ours = tower_of(f"timm:{folder}", Reads(frames=True, out=(-1,)))
    side, (rows, columns) = weights.backbone.pixels.size[0], weights.backbone.grid
    video, seen = torch.randn(1, 3, 3, side, side), ClassAttention(weights.backbone.prefix_tokens + rows * columns)
    with torch.no_grad():
        found = ours.observe(video, seen)
        assert all(torch.equal(found[name], value) for name, value in ours(video).items())
        pairs = captured(theirs, video[0], monkeypatch)
    assert ours.class_token
    assert len(seen.blocks) == len(pairs) == 3
    for (q, k), shown in zip(pairs, seen.blocks):
        expected = (q[:, :, :1] @ k.mT / q.shape[-1] ** 0.5).softmax(-1)[:, :, 0].transpose(0, 1)
        assert (shown - expected).abs().max() <= 1e-5
        assert shown.std() > 1e-3, "it is not uniform"
    assert seen.rollout.sum(-1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


@pytest.mark.parametrize("family", ["plain", "dinov3", "siglip2", "eva02"])
def test_tokens_alone_come_from_a_smaller_tower(family: str, tmp_path: Path) -> None:
    side = FAMILIES[family][2]
    _, folder = make(family, tmp_path)
    _, whole = tower_of(f"timm:{folder}", Reads(frames=True, out=(1,)))
    _, ours = tower_of(f"timm:{folder}", Reads(out=(1,)))
    video = torch.randn(1, 2, 3, side, side)
    with torch.no_grad():
        assert torch.equal(ours(video)["out.1"], whole(video)["out.1"])
    assert len(ours.tower.blocks) == 2, "nothing behind the last block that is read"
    loss = ours(video)["out.1"].square().sum()
    loss.backward()
    assert all(p.grad is not None for p in ours.parameters()), "no parameter that trains has nothing to do"


@pytest.mark.parametrize("family", ["plain", "dinov2", "dinov3", "siglip2", "pe_core", "eva02"])
def test_another_image_size_is_resampled_as_timm_does(family: str, tmp_path: Path) -> None:
    name, args, side, _, _ = FAMILIES[family]
    small, folder = make(family, tmp_path)
    size = (side, side // 3 * 5)
    overlay = {"state_dict": small.state_dict(), "num_classes": 0}
    theirs = timm.create_model(
        name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay, **args, img_size=size
    ).eval()
    weights, ours = tower_of(f"timm:{name}:{folder}", Reads(frames=True), image_size=size)
    assert weights.backbone.grid == (3, 5)
    video = torch.randn(1, 2, 3, *size)
    with torch.no_grad():
        assert (ours(video)["frames"][0] - theirs(video[0])).abs().max() <= 1e-5


def test_models_that_are_no_vit_give_pooled_embeddings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", num_classes=0).eval()
    save_file(theirs.state_dict(), tmp_path / "r18.safetensors")
    weights, ours = tower_of(f"timm:resnet18:{tmp_path / 'r18.safetensors'}", Reads(frames=True), image_size=64)
    video = torch.randn(1, 2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(video)["frames"][0], theirs(video[0]))
    for method in (AttentiveProbe(heads=4), EVL(cross_attention=False), EVL()):
        with pytest.raises(StillmotionError, match="frames alone"):
            method.build(weights.backbone, ["a"])
    assert LinearProbe().build(weights.backbone, ["a"]).classify(video).shape == (1, 1)


def test_where_there_are_no_queries_and_keys_the_mend_is_named(tmp_path: Path) -> None:
    _, folder = make("diff_attention", tmp_path)
    backbone = load_backbone(f"timm:{folder}").backbone
    with pytest.raises(StillmotionError, match=r"gives no 'affinity' here, .*pass --no-cross-attention"):
        EVL(layers=2).build(backbone, ["a"])
    assert EVL(layers=2, cross_attention=False).build(backbone, ["a"])
    siglip = load_backbone(f"timm:{make('siglip2', tmp_path / 'b')[1]}").backbone
    with pytest.raises(StillmotionError, match="no class tokens; choose other --tokens"):
        EVL(layers=2, tokens="class_tokens").build(siglip, ["a"])


def test_a_torch_file_with_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=7).eval()
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "vit.pth")
    _, ours = tower_of(f"timm:vit_tiny_patch16_224.augreg_in21k:{tmp_path / 'vit.pth'}", Reads(frames=True))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert (
            ours(x[None])["frames"][0] - theirs.forward_head(theirs.forward_features(x), pre_logits=True)
        ).abs().max() <= 1e-5


def test_a_tag_says_the_pixels_and_not_what_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), path)
    plain = load_backbone(f"timm:vit_tiny_patch16_224:{path}")
    tagged = load_backbone(f"timm:timm/vit_tiny_patch16_224.augreg_in21k:{path}", image_size=224)
    assert plain.fingerprint() == tagged.fingerprint()
    assert plain.backbone.pixels.mean == (0.5, 0.5, 0.5)
    assert backbone_of(json.loads(json.dumps(plain.backbone.to_dict())), "a card") == plain.backbone


def test_the_hub_is_asked_and_its_absence_said_within_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    import huggingface_hub

    asked = []

    def metadata(url: str, **_: Any) -> None:
        asked.append(url)
        raise OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    started = time.monotonic()
    with pytest.raises(
        WeightsError, match=r"cannot download timm/vit_tiny.*no route.*; pass a local file: timm:vit_t"
    ) as error:
        load_backbone("timm:vit_tiny_patch16_224.augreg_in21k")
    assert time.monotonic() - started < 8
    assert "vit_tiny_patch16_224.augreg_in21k" in asked[0]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_225", "timm has no model 'vit_tiny_patch16_225'; did you mean 'vit_tiny_patch16_224'"),
        ("vit_tiny_patch16_224.augreg_in22k", "has no weights 'augreg_in22k'; did you mean 'augreg_in21k'"),
        ("../../etc", "timm has no model"),
        ("", "timm has no model ''"),
        ("hf-hub:some/model", "timm has no model 'hf-hub'"),
        ("vit_tiny_patch16_224:no/such.safetensors", "no weights file"),
    ],
)
def test_what_is_not_there(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as error:
        load_backbone(f"timm:{name}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_weights_of_another_model(tmp_path: Path, tiny_clip: Path) -> None:
    _, folder = make("plain", tmp_path)
    for name in ("vit_small_patch16_dinov3", "resnet18", "vit_base_patch16_siglip_224"):
        with pytest.raises(WeightsError) as error:
            load_backbone(f"timm:{name}:{folder / 'model.safetensors'}")
        assert "\n" not in str(error.value)
    with pytest.raises(WeightsError):
        load_backbone(f"timm:vit_tiny_patch16_224:{tiny_clip}")
    with pytest.raises(WeightsError, match="activation go with CLIP's local files"):
        load_backbone(f"timm:{folder}", activation="gelu")


HOSTILE: list[dict[str, Any]] = [
    {"model": "vit_tiny_patch16_224", "image_size": [1 << 30, 1 << 30]},
    {"model": "vit_tiny_patch16_224", "image_size": [0, 224]},
    {"model": "vit_tiny_patch16_224", "image_size": 224},
    {"model": "vit_tiny_patch16_224", "image_size": [224, "224"]},
    {"model": "vit_tiny_patch16_224", "image_size": [8, 8]},
    {"model": "vit_tiny_patch16_224", "image_size": [8192, 8192], "args": {"patch_size": 1}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"depth": 10**9}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"depth": 2.5}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"embed_dim": 7}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"pretrained": True}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"checkpoint_path": "/etc/passwd"}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": [["depth", 2]]},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"num_heads": 0}},
    {"model": "vit_tiny_patch16_224", "image_size": [224, 224], "args": {"mlp_ratio": float("nan")}},
    {"model": "hf-hub:evil/model", "image_size": [224, 224]},
    {"model": "local-dir:/tmp", "image_size": [224, 224]},
    {"model": "x" * 100_000, "image_size": [224, 224]},
    {"model": ["vit_tiny_patch16_224"], "image_size": [224, 224]},
    {"model": "vit_tiny_patch16_224"},
]


@pytest.mark.parametrize("sizes", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_sizes_in_a_card_are_refused_before_anything_is_built(sizes: dict[str, Any]) -> None:
    started = time.monotonic()
    raw = {"kind": "timm", "sizes": sizes, "pixels": {"size": [224, 224]}}
    with pytest.raises(WeightsError) as error:
        backbone_of(raw, "a card")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("siglip2", EVL(num_frames=3, layers=2, heads=2)),
        ("dinov3", EVL(num_frames=3, layers=2, heads=2)),
        ("dinov2", AttentiveProbe(num_frames=3, heads=2)),
        ("pe_core", Step(num_frames=3, heads=2)),
        ("eva02", LinearProbe(num_frames=3)),
    ],
)
def test_trains_from_a_cache_and_predicts_the_same(
    family: str, method: Any, tmp_path: Path, folder_of_videos: Path
) -> None:
    _, folder = make(family, tmp_path / "timm")
    train = Train(lr=1e-3, epochs=2, batch_size=4, device="cpu", workers=0)
    recipe = Recipe(method=method, train=train, backbone=f"timm:{folder}")
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run", cache=tmp_path / "cache"))
    assert_predicts_the_same(result, method)
    if isinstance(method, EVL):
        video = next(folder_of_videos.rglob("*.mp4"))
        found = stillmotion.load(result.folder.model, device="cpu").explain(video)
        assert {name: m.weights.shape for name, m in found.maps.items()} == dict.fromkeys(found.maps, (3, 3, 3))
        assert ("tower" in found.maps) == (family == "dinov3"), "SigLIP has no class token"
        assert 0.3 < found.maps["query"].weights.sum() <= 1
