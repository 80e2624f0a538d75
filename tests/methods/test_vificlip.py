"""ViFi-CLIP, its image and text variants, and vanilla CLIP: equal to the release, training what it trains."""

import pytest
import torch
from torch import Tensor

import stillmotion
from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.weights import load_into
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.methods import LinearProbe, ViFiCLIP, ZeroShot
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.releases import vificlip
from tests.conftest import select, tiny_backbone
from tests.golden.recipe import load, picked, video, weight
from tests.methods.golden_clip import SHAPES

GOLDEN = load("vifi_tiny")


@pytest.fixture(scope="module")
def clip_state() -> dict[str, Tensor]:
    return {k: weight(k, s, GOLDEN["seed"]) for k, s in SHAPES.items()}


def as_release(clip: dict[str, Tensor]) -> dict[str, Tensor]:
    """The release's checkpoint: `module.` in front, towers renamed, no token table, class buffers on top."""
    state = {
        "module.prompt_learner.complete_text_embeddings": torch.zeros(5, 77, 64),
        "module.logit_scale": clip["logit_scale"],
    }
    for key, value in clip.items():
        if key.startswith("visual."):
            state[f"module.image_encoder.{key.removeprefix('visual.')}"] = value
        elif key not in ("token_embedding.weight", "logit_scale"):
            state[f"module.text_encoder.{key}"] = value
    return state


def check(model: VideoCLIP, case: str) -> None:
    golden = GOLDEN["cases"][case]
    clip = video((2, 3, 3, 64, 64), GOLDEN["seed"], "vifi")
    tokens = model.prompt(GOLDEN["class_names"])
    assert [[int(i) for i in row[row != 0]] for row in tokens] == golden["tokens"]
    with torch.no_grad():
        text = model.encode_text(tokens)
        frames = model.visual(clip)["frames"].flatten(0, 1)
        logits = model.classify(clip, text)
        assert (model(clip, tokens) - logits).abs().max() <= 1e-6
        assert (model(clip, text) - logits).abs().max() <= 1e-6
    for ours, key in ((frames, "frame_features"), (text, "text_features")):
        assert (torch.tensor(picked(ours)) - torch.tensor(golden["outputs"][key])).abs().max() <= 1e-5
    assert (logits - torch.tensor(golden["logits"])).abs().max() <= 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("case", ["finetune", "text_depth0"])
def test_equals_the_release(clip_state: dict[str, Tensor], case: str) -> None:
    model = stillmotion.from_official("vificlip", as_release(clip_state), clip=clip_state, text_heads=1)
    check(model, case)


PROMPTED = ("vl_few_shot", "vl_b2n", "vl_ctxinit")


def prompted(clip: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    """The release's stage-2 checkpoint: learned prompts, rounded as the golden's, and buffers of the classes."""
    shapes = GOLDEN["cases"][case]["prompts"]
    state = {f"module.{k}": weight(k, tuple(s), GOLDEN["seed"]).half().float() for k, s in shapes.items()}
    state |= {k: v for k, v in as_release(clip).items() if "complete_text_embeddings" not in k}
    n = shapes["prompt_learner.ctx"][0]
    buffers = {"token_prefix": torch.zeros(5, 1, 64), "token_suffix": torch.zeros(5, 76 - n, 64)}
    return state | {f"module.prompt_learner.{k}": v for k, v in buffers.items()}


@pytest.mark.golden
@pytest.mark.parametrize("case", PROMPTED)
def test_prompts_equal_the_release(clip_state: dict[str, Tensor], case: str) -> None:
    words = {"initial_words": "a photo of a"} if case == "vl_ctxinit" else {}
    model = stillmotion.from_official("vificlip", prompted(clip_state, case), clip=clip_state, text_heads=1, **words)
    check(model, case)


@pytest.mark.golden
@pytest.mark.parametrize("case", PROMPTED)
def test_prompts_train_what_the_release_trains(clip_state: dict[str, Tensor], case: str) -> None:
    theirs = prompted(clip_state, case)
    method = vificlip.read({k.removeprefix("module."): v for k, v in theirs.items()}, clip_state).method
    model = stillmotion.from_official("vificlip", theirs, clip=clip_state, text_heads=1)
    written = vificlip.write(method, model.state_dict())["model"]
    trained = {f"module.{k}" for k in GOLDEN["cases"][case]["trainable"]}
    rules = select(model, method.tune())
    assert {n for n, p in model.named_parameters() if p.requires_grad} == set(rules)
    ours = vificlip.write(method, {k: v for k, v in model.state_dict().items() if k in rules})["model"]
    assert ours.keys() == trained
    buffers = {k for k in theirs if k.endswith(("token_prefix", "token_suffix"))}
    assert written.keys() == theirs.keys() - buffers
    assert all(torch.equal(written[k], theirs[k]) for k in written)


@pytest.mark.parametrize(("prompts", "depth", "count"), [(10, 12, 153_600), (16, 9, 184_320)])
def test_published_prompt_counts(prompts: int, depth: int, count: int) -> None:
    sizes = {"vision_prompts": prompts, "text_prompts": prompts, "vision_depth": depth, "text_depth": depth}
    method = ViFiCLIP(tuned="prompts", **sizes)
    with torch.device("meta"):
        model = method.build(describe(CLIPConfig()), ["a"])
    rules = select(model, method.tune())
    assert sum(p.numel() for n, p in model.named_parameters() if n in rules) == count
    assert len(model.state_dict()) == 303 + 2 * depth - 1 - 1 + 1


def test_rounding_of_prompts_is_a_switch() -> None:
    torch.manual_seed(0)
    sizes = {"tuned": "prompts", "vision_prompts": 2, "text_prompts": 2, "vision_depth": 3, "text_depth": 2}
    faithful = ViFiCLIP(**sizes).build(tiny_backbone(), ["run", "jump"]).eval()
    exact = ViFiCLIP(**sizes, faithful=False).build(tiny_backbone(), ["run", "jump"]).eval()
    exact.load_state_dict(faithful.state_dict())
    clip, tokens = torch.randn(1, 2, 3, 32, 32), faithful.prompt(["run", "jump"])
    with torch.no_grad():
        gap = (faithful(clip, tokens) - exact(clip, tokens)).abs().max()
    assert 0 < gap < 1e-2


def test_initial_words_are_where_the_prompts_start() -> None:
    method = ViFiCLIP(tuned="prompts", text_prompts=4, text_depth=1, initial_words="a photo of a")
    model = method.build(tiny_backbone(), ["run"])
    method.init_from_backbone(model)
    assert torch.equal(model.text.stem.ctx, model.text.token_embedding.weight[[320, 1125, 539, 320]])
    assert model.prompt(["putting_on foundation"])[0, :5].tolist() == [49406, 320, 1125, 539, 320]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuned": "prompts"}, "pass --vision-prompts 10"),
        ({"tuned": "image", "text_prompts": 4}, "--tuned image does not train them; use --tuned prompts"),
        ({"tuned": "text", "vision_prompts": 4}, "--tuned text does not train them"),
        ({"text_prompts": -1}, "text-prompts is -1"),
        ({"vision_prompts": 2, "vision_depth": 0}, "vision-depth is 0"),
        ({"text_prompts": 5, "initial_words": "a photo of a"}, "one word for each prompt"),
        ({"text_prompts": 5, "initial_words": "a photo of a big"}, "at most 4"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(StillmotionError, match=message):
        ViFiCLIP(**options)  # type: ignore[arg-type]


@pytest.mark.golden
def test_vanilla_clip_equals_the_release(clip_state: dict[str, Tensor]) -> None:
    model = ZeroShot().build(describe(CLIPConfig.from_state(clip_state, text_heads=1)), GOLDEN["class_names"]).eval()
    load_into(model, clip_state, new=(), source="recipe")
    check(model, "zs_eval")


@pytest.mark.golden
def test_full_tuning_trains_what_the_release_trains(clip_state: dict[str, Tensor]) -> None:
    model = ViFiCLIP().build(describe(CLIPConfig.from_state(clip_state, text_heads=1)), GOLDEN["class_names"])
    theirs = set(GOLDEN["cases"]["finetune"]["trainable"])
    ours = {
        name.replace("visual.", "image_encoder.").replace("text.", "text_encoder.").removeprefix("head.")
        for name in select(model, ViFiCLIP().tune())
    }
    assert ours == theirs


@pytest.mark.parametrize(("tuned", "count"), [("full", 124_323_841), ("image", 86_192_640), ("text", 38_131_200)])
def test_published_parameter_counts(tuned: str, count: int) -> None:
    with torch.device("meta"):
        method = ViFiCLIP(tuned=tuned)
        model = method.build(describe(CLIPConfig()), ["a"])
    rules = select(model, method.tune())
    assert sum(p.numel() for n, p in model.named_parameters() if n in rules) == count
    assert {n for n, p in model.named_parameters() if p.requires_grad} == set(rules)


def test_the_token_table_is_needed(clip_state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="pass clip=, the OpenAI ViT-B/16 weights"):
        stillmotion.from_official("vificlip", as_release(clip_state), text_heads=1)


def test_unknown_methods_and_methods_without_releases() -> None:
    with pytest.raises(WeightsError, match="did you mean 'vificlip'"):
        stillmotion.from_official("vifi-clip", {})
    with pytest.raises(WeightsError, match="LinearProbe has no official checkpoints"):
        stillmotion.from_official("linear_probe", {})


def test_several_templates_are_averaged_after_normalization() -> None:
    torch.manual_seed(0)
    model = ZeroShot(templates=("a video of {}", "{}, an action")).build(tiny_backbone(), ["run", "jump"]).eval()
    tokens = model.prompt(["run", "jump"])
    assert tokens.shape == (2, 2, 77)
    with torch.no_grad():
        one_by_one = [model.text(t) for t in tokens]
        mean = torch.stack([torch.nn.functional.normalize(t, dim=-1) for t in one_by_one]).mean(0)
        assert (model.encode_text(tokens) - mean).abs().max() <= 1e-6


def test_prompts_longer_than_the_context_are_refused_and_not_cut() -> None:
    model = ZeroShot().build(tiny_backbone(), ["a"])
    with pytest.raises(StillmotionError, match=r"has 90 tokens, at most 75 fit; shorten it"):
        model.prompt(["run " * 90])
    with pytest.raises(StillmotionError, match="no class names"):
        model.prompt([])


def test_a_cosine_head_says_what_it_lacks() -> None:
    model = ZeroShot().build(tiny_backbone(), ["a"])
    with pytest.raises(StillmotionError, match=r"pass encode_text\(prompt\(names\)\)"):
        model.classify(torch.randn(1, 2, 3, 32, 32))


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 2, 1, 32, 32)])
def test_videos_of_another_shape_are_explained(shape: tuple[int, ...]) -> None:
    model = LinearProbe().build(tiny_backbone(text=False), ["a", "b"])
    with pytest.raises(StillmotionError, match=r"pass \(batch, frames, 3, height, width\)"):
        model.classify(torch.randn(shape))


def test_frames_of_another_size_are_explained() -> None:
    model = LinearProbe().build(tiny_backbone(text=False), ["a", "b"])
    with pytest.raises(StillmotionError, match=r"frames are 16x32 pixels, this model reads 32x32"):
        model.classify(torch.randn(1, 2, 3, 16, 32))


def test_the_probe_is_blind_to_order() -> None:
    torch.manual_seed(0)
    model = LinearProbe().build(tiny_backbone(text=False), ["a", "b"]).eval()
    clip = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        assert (model.classify(clip) - model.classify(clip.flip(1))).abs().max() <= 1e-6


def test_image_towers_alone_build_without_text() -> None:
    assert ZeroShot().build(tiny_backbone(text=False), ["a"]).text is None


@pytest.mark.parametrize("method", [ViFiCLIP(num_frames=2), ZeroShot(num_frames=2)])
def test_exports_with_a_dynamic_batch(method: ViFiCLIP | ZeroShot) -> None:
    torch.manual_seed(0)
    model = method.build(tiny_backbone(), ["run", "jump"]).eval()
    tokens = model.prompt(["run", "jump"])
    with torch.no_grad():
        shapes = {"video": {0: torch.export.Dim("batch")}, "tokens": None}
        exported = torch.export.export(model, (torch.randn(2, 2, 3, 32, 32), tokens), dynamic_shapes=shapes)
        clip = torch.randn(3, 2, 3, 32, 32)
        assert (exported.module()(clip, tokens) - model(clip, tokens)).abs().max() <= 1e-5
