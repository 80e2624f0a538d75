"""X-CLIP: equal to the release and to Hugging Face's model, training what the release trains."""

import pytest
import torch
from torch import Tensor

import stillmotion
from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.methods import XCLIP
from stillmotion.methods.xclip import VideoPromptHead
from stillmotion.releases import xclip
from stillmotion.training.tuning import param_groups, rules
from stillmotion.weights import hugging_face
from tests.conftest import select, tiny_backbone
from tests.golden.recipe import load, video, weight
from tests.methods.golden_clip import clip_state, close, token_ids

GOLDEN = load("xclip_tiny")


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Tensor]:
    seed = GOLDEN["seed"]
    return clip_state(seed) | {k: weight(k, tuple(s), seed) for k, s in GOLDEN["shapes"].items()}


@pytest.mark.golden
def test_equals_the_release(checkpoint: dict[str, Tensor]) -> None:
    model = stillmotion.from_official("xclip", {"model": checkpoint})
    clip = video((2, 4, 3, 64, 64), GOLDEN["seed"], "xclip")
    tokens = model.prompt(GOLDEN["class_names"])
    assert token_ids(tokens) == GOLDEN["tokens"]
    outputs = GOLDEN["outputs"]
    with torch.no_grad():
        text, features = model.encode_text(tokens), model.visual(clip)
        close(text, outputs["text_features"])
        close(features["frames"].flatten(0, 1), outputs["visual/0"])
        close(features["out.2"].flatten(0, 1)[:, 1:], outputs["visual/1"])
        close(model.temporal(features), outputs["video_features"])
        assert isinstance(model.head, VideoPromptHead)
        close(model.head.prompts(text.expand(2, -1, -1), features), outputs["prompts"])
        logits = model.classify(clip, text)
    assert (logits - torch.tensor(GOLDEN["logits"])).abs().max() <= 1e-5


@pytest.mark.golden
def test_goes_back_to_the_release(checkpoint: dict[str, Tensor]) -> None:
    model = stillmotion.from_official("xclip", checkpoint)
    written = xclip.write(XCLIP(num_frames=4), model.state_dict())["model"]
    assert written.keys() == checkpoint.keys()
    assert all(torch.equal(written[k], checkpoint[k]) for k in checkpoint)


def random_xclip(num_frames: int, small: bool):  # type: ignore[no-untyped-def]
    """A random `XCLIPModel`; `small`, or of ViT-B/16's size."""
    transformers = pytest.importorskip("transformers")
    sizes = {"num_frames": num_frames, "drop_path_rate": 0.0, "mit_num_hidden_layers": 1}
    text = {"max_position_embeddings": 77}
    if small:
        sizes |= {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
        sizes |= {"image_size": 32, "patch_size": 16, "mit_hidden_size": 64, "mit_intermediate_size": 256}
        sizes |= {"mit_num_attention_heads": 1}
        text |= {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    else:
        sizes |= {"image_size": 224, "patch_size": 16, "mit_hidden_size": 512, "mit_intermediate_size": 2048}
    width = 64 if small else 512
    config = transformers.XCLIPConfig(
        text_config=text, vision_config=sizes, projection_dim=width, prompt_num_attention_heads=width // 64
    )
    torch.manual_seed(0)
    model = transformers.XCLIPModel(config).eval()
    for parameter in model.parameters():  # nothing stays at zero or one
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("small", [True, False])
def test_equals_hugging_face_in_both_directions(small: bool) -> None:
    theirs = random_xclip(2, small)
    state = dict(theirs.state_dict())
    ours = stillmotion.from_official("xclip", state)
    tokens = ours.prompt(["surfing water", "playing chess", "brush hair"])
    size = ours.visual.image_size[0]
    clip = torch.randn(2, 2, 3, size, size)
    with torch.no_grad():
        expected = theirs(input_ids=tokens, pixel_values=clip).logits_per_video
        logits = ours.classify(clip, ours.encode_text(tokens))
    assert expected.std() > 1e-3
    assert (logits - expected).abs().max() <= 1e-4
    clip_config = CLIPConfig.from_state(hugging_face.from_hugging_face(state))
    config, back = xclip.to_hugging_face(XCLIP(num_frames=2), ours.state_dict(), clip_config)
    assert config["vision_config"]["num_frames"] == 2
    kept = {k: v for k, v in state.items() if not k.endswith("position_ids")}
    assert back.keys() == kept.keys()
    assert all(torch.equal(back[k], kept[k]) for k in kept)


def test_trains_what_the_release_trains() -> None:
    method = XCLIP()
    with torch.device("meta"):
        model = method.build(describe(CLIPConfig()), ["a"])
    rules = select(model, method.tune())
    count = {name: p.numel() for name, p in model.named_parameters()}
    assert sum(count.values()) == 194_929_153  # towers, messages, integration, prompts and the temperature
    assert sum(n for k, n in count.items() if k.startswith("visual.")) == 121_646_592
    assert sum(n for k, n in count.items() if k.startswith("temporal.")) == 3_156_480
    assert not any(k.startswith("text.") or k == "head.logit_scale" for k in rules)
    new = {k for k in count if "message_" in k or k.startswith(("temporal.", "head."))} - {"head.logit_scale"}
    assert {k for k, rule in rules.items() if rule.lr_scale == 10} == new
    assert set(rules) == {k for k in count if k.startswith("visual.")} | new
    assert sum(count[k] for k in rules) == 131_501_056


def test_norms_biases_and_positions_are_not_decayed() -> None:
    method = XCLIP(num_frames=2)
    model = method.build(tiny_backbone(), ["a"])
    groups = param_groups(model, rules(model, method.tune()), 0.001, "matrices")
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    names = {n for n, p in model.named_parameters() if id(p) in decayed}
    assert not any(n.endswith(("bias", "positional_embedding")) or ".ln_" in n for n in names)
    assert {"head.proj", "visual.conv1.weight", "temporal.resblocks.0.mlp.c_fc.weight"} <= names


def test_another_number_of_frames_is_one_call_away() -> None:
    torch.manual_seed(0)
    model = XCLIP(num_frames=2).build(tiny_backbone(), ["run", "jump"]).eval()
    text, clip = model.encode_text(model.prompt(["run", "jump"])), torch.randn(1, 3, 3, 32, 32)
    with pytest.raises(StillmotionError, match=r"positions for 2 frames, the video has 3.*resize_time\(3\)"):
        model.classify(clip, text)
    model.temporal.resize_time(3)
    assert model.classify(clip, text).shape == (1, 2)


def test_a_checkpoint_of_something_else_is_refused(checkpoint: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint of X-CLIP"):
        stillmotion.from_official("xclip", clip_state(1))
    with pytest.raises(WeightsError, match=r"missing visual.transformer.resblocks.0.message_fc.bias"):
        cut = {k: v for k, v in checkpoint.items() if not k.endswith("0.message_fc.bias")}
        stillmotion.from_official("xclip", cut)
