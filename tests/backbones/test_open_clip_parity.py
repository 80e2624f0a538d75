"""Our towers equal open_clip's on shared random weights, for every ViT model of its CLIP class, made small."""

import copy
from typing import Any

import open_clip
import pytest
import torch

from stillmotion.backbones.clip import TextTransformer, VisionTransformer, describe
from stillmotion.backbones.clip_files import clip_weights
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.weights import check, load_into
from stillmotion.errors import WeightsError
from stillmotion.weights.names import to_openai


def published() -> dict[str, dict[str, Any]]:
    """Every configuration that open_clip builds as its plain CLIP class with its own ViT."""
    found = {}
    for name in open_clip.list_models():
        raw = open_clip.get_model_config(name)
        vision, text = raw.get("vision_cfg", {}), raw.get("text_cfg", {})
        plain = not (raw.get("custom_text") or "multimodal_cfg" in raw or "hf_model_name" in text)
        if plain and "timm_model_name" not in vision and isinstance(vision.get("layers", 12), int):
            found[name] = raw
    return found


def small(raw: dict[str, Any]) -> dict[str, Any]:
    """The same structure, tiny: head width, ratios, pooling, norms and masks stay what they are in kind."""
    raw = copy.deepcopy(raw)
    vision, text = raw["vision_cfg"], raw["text_cfg"]
    heads = 2
    if "head_width" in vision:
        vision["head_width"] = vision["head_width"] // 8
        vision["width"] = heads * vision["head_width"]
    else:
        vision["width"] = 64 * heads
    vision |= {"layers": 2, "patch_size": 8, "image_size": 32}
    text |= {"width": 16 * 2, "heads": 2, "layers": 2, "vocab_size": 200}
    raw["embed_dim"] = 24
    return raw


PUBLISHED = published()
STRUCTURES = {str(small(raw)): name for name, raw in PUBLISHED.items()}


def test_the_list_is_not_empty() -> None:
    assert len(PUBLISHED) >= 40
    assert {"ViT-B-16", "ViT-B-16-quickgelu", "ViT-L-14-336", "ViT-bigG-14", "ViT-H-14-CLIPA", "ViT-M-16-alt"} <= set(
        PUBLISHED
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_equal_to_open_clip(name: str) -> None:
    raw = small(PUBLISHED[name])
    torch.manual_seed(1)
    theirs = open_clip.CLIP(**{k: v for k, v in raw.items() if k != "custom_text"}).eval()
    with torch.no_grad():  # nothing at its initial zero or one
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    config = CLIPConfig.from_open_clip(raw, name)
    assert config.tokenizer == name  # by which open_clip finds the tokenizer that the model's configuration names
    state = to_openai(theirs.state_dict())
    weights = clip_weights(name, config, state)
    check(weights)
    visual, text = VisionTransformer(config).eval(), TextTransformer(config).eval()
    visual.load_state_dict({k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")})
    text.load_state_dict({k: v for k, v in state.items() if not k.startswith("visual.") and k != "logit_scale"})

    video = torch.randn(2, 3, 3, 32, 32)
    tokens = torch.randint(1, 190, (4, config.text.context_length))
    tokens[:, 9:] = 0
    tokens[torch.arange(4), torch.tensor([3, 8, 5, 6])] = 199 if config.text.pool == "argmax" else config.text.eos_id
    tokens[tokens == 199] = 199
    with torch.no_grad():
        frames = theirs.encode_image(video.flatten(0, 1)).unflatten(0, (2, 3))
        words = theirs.encode_text(tokens)
        assert (visual(video)["frames"] - frames).abs().max() <= 1e-5
        assert (text(tokens) - words).abs().max() <= 1e-5


def test_sizes_of_published_models() -> None:
    b16, l14 = CLIPConfig.published("ViT-B-16-quickgelu"), CLIPConfig.published("ViT-L-14-336-quickgelu")
    assert (b16.vision.width, b16.vision.heads, b16.vision.grid, b16.activation) == (768, 12, (14, 14), "quick_gelu")
    assert (l14.vision.width, l14.vision.layers, l14.vision.grid, l14.text.width) == (1024, 24, (24, 24), 768)
    counts = {}
    with torch.device("meta"):
        for name, config in (("b16", b16), ("l14", l14)):
            visual, text = VisionTransformer(config), TextTransformer(config)
            table = text.token_embedding.weight.numel()
            counts[name] = (
                sum(p.numel() for p in visual.parameters()),
                sum(p.numel() for p in text.parameters()) - table,
            )
    assert counts == {"b16": (86_192_640, 38_131_200), "l14": (304_293_888, 85_704_960)}


@pytest.mark.parametrize("name", ["RN50", "ViT-SO400M-14-SigLIP", "coca_ViT-B-32"])
def test_other_architectures_are_refused_by_name(name: str) -> None:
    with pytest.raises(WeightsError, match=r"has the ViT towers of open_clip's CLIP class"):
        CLIPConfig.published(name)


def test_text_is_cut_to_the_longest_prompt_exactly() -> None:
    config = CLIPConfig.from_open_clip(small(PUBLISHED["ViT-B-16"]))
    text = TextTransformer(config).eval()
    tokens = torch.zeros(3, 77, dtype=torch.int64)
    tokens[:, :6] = torch.randint(1, 190, (3, 6))
    tokens[torch.arange(3), torch.tensor([2, 5, 3])] = 199
    lengths: list[int] = []
    text.transformer.resblocks[0].register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    with torch.no_grad():
        short = text(tokens)
        text.causal = False  # the same weights and mask, nothing cut
        whole = text(tokens)
    assert lengths == [6, 77]
    assert (short - whole).abs().max() <= 1e-6


def test_load_into_is_strict() -> None:
    from stillmotion.methods import ZeroShot

    config = CLIPConfig.from_open_clip(small(PUBLISHED["ViT-B-16"]))
    model = ZeroShot().build(describe(config), ["a"])
    with pytest.raises(WeightsError, match=r"missing .*visual\.proj"):
        load_into(model, {}, new=(), source="nothing")
