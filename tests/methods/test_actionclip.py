"""ActionCLIP: every head equal to the release, its loss, and what it trains."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import stillmotion
from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.methods import ActionCLIP
from stillmotion.methods.actionclip import ConvPool, ShiftBlock
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.releases import actionclip
from stillmotion.training.config import Train
from stillmotion.training.objective import Contrastive, make_objective
from tests.conftest import select, tiny_backbone
from tests.golden.recipe import load, video, weight
from tests.methods.golden_clip import clip_state, close, token_ids

GOLDEN = load("actionclip_tiny")
HEADS = ("meanP", "Transf", "Transf_cls", "LSTM", "Conv_1D", "tsm_meanP")


@pytest.fixture(scope="module")
def clip() -> dict[str, Tensor]:
    return clip_state(GOLDEN["seed"])


def checkpoint(clip: dict[str, Tensor], head: str) -> dict[str, dict[str, Tensor]]:
    """The release's file: two state dicts, `module.` on one, `.net` in the blocks of the other with TSM."""
    golden, state = GOLDEN["heads"][head], dict(clip)
    if head == "tsm_meanP":
        block = "visual.transformer.resblocks."
        names = {k: ".net.".join(k[len(block) :].split(".", 1)) for k in state if k.startswith(block)}
        state = {block + names[k] if k in names else k: v for k, v in state.items()}
    fusion = {k: weight(f"fusion.{k}", tuple(s), GOLDEN["seed"]) for k, s in golden["shapes"].items()}
    if head == "Conv_1D":
        places = torch.tensor(golden["kernel"])
        fusion["shift.weight"] = F.one_hot(places, 3).float()[:, None]
    return {"model_state_dict": state, "fusion_model_state_dict": {f"module.{k}": v for k, v in fusion.items()}}


def loaded(clip: dict[str, Tensor], head: str) -> VideoCLIP:
    return stillmotion.from_official("actionclip", checkpoint(clip, head), num_frames=4)


@pytest.mark.golden
@pytest.mark.parametrize("head", HEADS)
def test_equals_the_release(clip: dict[str, Tensor], head: str) -> None:
    golden, model = GOLDEN["heads"][head], loaded(clip, head)
    clips, tokens = video((2, 4, 3, 64, 64), GOLDEN["seed"], "actionclip"), model.prompt(GOLDEN["class_names"])
    assert tokens.shape == (16, 3, 77)
    if head == "meanP":
        assert token_ids(tokens.flatten(0, 1)) == golden["tokens"]
    with torch.no_grad():
        text, features = model.encode_text(tokens), model.visual(clips)
        close(features["frames"], golden["outputs"]["frame_features"])
        close(model.text(tokens.flatten(0, 1)), golden["outputs"]["text_features"])
        close(model.temporal(features), golden["outputs"]["video_features"])
        prob = model.classify(clips, text).softmax(dim=-1)
    assert (prob - torch.tensor(golden["prob"])).abs().max() <= 1e-5


@pytest.mark.golden
def test_the_convolution_starts_as_the_release_does() -> None:
    kernel = ConvPool(64, faithful=True).shift.weight
    assert kernel.flatten(1).argmax(dim=1).tolist() == GOLDEN["heads"]["Conv_1D"]["kernel"]
    assert kernel.sum() == 64 and kernel.max() == 1


def test_the_scramble_of_conv1d_is_a_switch() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 16)
    features = {"frames": x}
    over_time, scrambled = ConvPool(16, faithful=False), ConvPool(16, faithful=True)
    quarter = over_time(features)[:, :4]  # the first channels come from the previous frame
    assert torch.allclose(quarter, (x + F.pad(x, (0, 0, 1, 0))[:, :-1]).mean(dim=1)[:, :4])
    assert (over_time(features) - scrambled(features)).abs().max() > 0.1


@pytest.mark.golden
def test_the_loss_equals_the_release() -> None:
    golden = {k: torch.tensor(v) for k, v in GOLDEN["kl_loss"].items()}
    a, b = (F.normalize(golden[k], dim=-1) for k in "ab")
    similarity = golden["logit_scale"] * a @ b.T  # the factor itself, not its logarithm
    objective = Contrastive()
    expected = objective.compare(golden["labels"])
    assert torch.equal(expected, golden["ground_truth"])
    assert abs(objective.losses(similarity, expected).mean() - golden["total"]) <= 1e-5
    rows = F.kl_div(similarity.log_softmax(-1), (10 * expected).softmax(-1), reduction="batchmean")
    assert abs(rows - golden["loss_img"]) <= 1e-5


@pytest.mark.golden
@pytest.mark.parametrize("head", HEADS)
def test_goes_back_to_the_release(clip: dict[str, Tensor], head: str) -> None:
    theirs, model = checkpoint(clip, head), loaded(clip, head)
    shift, pool = head == "tsm_meanP", head.removeprefix("tsm_")
    written = actionclip.write(ActionCLIP(shift=shift, pool=pool), model.state_dict())
    for part in theirs:
        assert written[part].keys() == theirs[part].keys()
        unread = {"module.frame_position_embeddings.weight"} if pool != "Transf" else set()
        assert all(torch.equal(written[part][k], theirs[part][k]) for k in theirs[part].keys() - unread)


@pytest.mark.golden
def test_reads_the_port_of_mmaction2(clip: dict[str, Tensor]) -> None:
    fusion = {k: weight(f"fusion.{k}", tuple(s), 1) for k, s in GOLDEN["heads"]["Transf"]["shapes"].items()}
    fusion["frame_position_embeddings.weight"] = fusion["frame_position_embeddings.weight"][:4]
    port = {f"clip.{k}": v for k, v in clip.items()} | {f"adapter.{k}": v for k, v in fusion.items()}
    model = stillmotion.from_official("actionclip", {"state_dict": port})
    assert model.temporal.transformer.resblocks[0].ln_1.eps == 1e-5
    assert model.temporal.frame_position_embeddings.num_embeddings == model.temporal.num_frames == 4
    with pytest.raises(StillmotionError, match=r"positions for 4 frames.*resize_time\(5\)"):
        model.classify(torch.randn(1, 5, 3, 64, 64), torch.randn(2, 64))


def test_published_parameter_counts() -> None:
    method = ActionCLIP()
    with torch.device("meta"):
        model = method.build(describe(CLIPConfig()), ["a"])
    rules = select(model, method.tune())
    count = {name: p.numel() for name, p in model.named_parameters()}
    assert set(rules) == set(count)
    assert sum(count.values()) == 168_574_465
    assert sum(n for k, n in count.items() if k.startswith("temporal.")) == 18_953_728
    assert {k for k, rule in rules.items() if rule.lr_scale == 10} == {k for k in count if k.startswith("temporal.")}
    assert select(ActionCLIP(pool="meanP").build(tiny_backbone(), ["a"]), ActionCLIP(pool="meanP").tune())


def test_logits_are_those_of_the_averaged_probabilities() -> None:
    torch.manual_seed(0)
    model = ActionCLIP(num_frames=2, layers=1).build(tiny_backbone(), ["run", "jump"]).eval()
    clip, tokens = torch.randn(2, 2, 3, 32, 32), model.prompt(["run", "jump"])
    with torch.no_grad():
        each = [model.classify(clip, model.encode_text(t)).softmax(-1) for t in tokens]
        prob = model.classify(clip, model.encode_text(tokens)).softmax(-1)
    assert (prob - torch.stack(each).mean(0)).abs().max() <= 1e-6


def test_the_fixed_scale_is_of_the_test_alone() -> None:
    torch.manual_seed(0)
    clip, text = torch.randn(1, 2, 3, 32, 32), torch.randn(2, 32)
    model = ActionCLIP(pool="meanP").build(tiny_backbone(), ["a", "b"])
    learned = model.train().classify(clip, text)
    assert torch.allclose(model.eval().classify(clip, text), learned * 100 / model.head.logit_scale.exp())
    plain = ActionCLIP(pool="meanP", test_scale=None).build(tiny_backbone(), ["a", "b"]).eval()
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(plain.classify(clip, text), learned)


def test_shifted_blocks_move_patches_and_not_the_class_token() -> None:
    x = torch.randn(1, 3, 5, 16)
    y = ShiftBlock.enter(x)
    assert torch.equal(y[:, :, 0], x[:, :, 0])
    assert torch.equal(y[:, :2, 1:, :2], x[:, 1:, 1:, :2]) and not y[:, 2, 1:, :2].any()
    assert torch.equal(y[:, 1:, 1:, 2:4], x[:, :2, 1:, 2:4]) and not y[:, 0, 1:, 2:4].any()
    assert torch.equal(y[..., 4:], x[..., 4:])


@pytest.mark.parametrize("pool", ["Transf", "Transf_cls"])
def test_another_number_of_frames_is_one_call_away(pool: str) -> None:
    torch.manual_seed(0)
    model = ActionCLIP(num_frames=2, pool=pool, layers=1).build(tiny_backbone(), ["a", "b"]).eval()
    clip, text = torch.randn(1, 3, 3, 32, 32), torch.randn(2, 32)
    with pytest.raises(StillmotionError, match=r"resize_time\(3\)"):
        model.classify(clip, text)
    before = {k: v.clone() for k, v in model.temporal.state_dict().items()}
    model.temporal.resize_time(3)
    assert model.classify(clip, text).shape == (1, 2)
    if pool == "Transf":  # what was trained is stretched, and nothing else
        table, old = (d["frame_position_embeddings.weight"] for d in (model.temporal.state_dict(), before))
        assert table.shape == (77, 32)
        assert torch.equal(table[0], old[0]) and torch.equal(table[2], old[1]) and torch.equal(table[3:], old[3:])
        assert torch.allclose(table[1], (old[0] + old[1]) / 2)
    assert all(p.requires_grad for p in model.temporal.parameters())


def test_the_contrast_needs_clips_to_compare() -> None:
    """One clip alone has a loss of zero whatever the model says, so it is refused before anything is encoded."""
    assert isinstance(make_objective("contrastive", (4, 4, 4), Train(batch_size=8)), Contrastive)
    one = Contrastive()
    assert one.losses(torch.randn(1, 1), one.compare(torch.tensor([2]))).abs().max() == 0
    with pytest.raises(StillmotionError, match="compares the clips of a batch, and batch-size is 1; pass more"):
        make_objective("contrastive", (4, 4, 4), Train(batch_size=1))
    with pytest.raises(StillmotionError, match="takes no --mix"):
        make_objective("contrastive", (4, 4, 4), Train(mix=True))


def test_each_clip_draws_a_template_of_its_own_class() -> None:
    tokens = torch.arange(16 * 3).view(16, 3, 1).expand(-1, -1, 77)
    labels = torch.tensor([0, 2, 1, 1])
    drawn = {seed: Contrastive().prompts(tokens, labels, seed, range(4)) for seed in range(20)}
    assert all(torch.equal(rows[:, 0] % 3, labels) for rows in drawn.values())
    assert len({int(v) // 3 for rows in drawn.values() for v in rows[:, 0]}) == 16, "every template is used"
    assert torch.equal(Contrastive().prompts(tokens[0], labels, 0, range(4))[:, 0], labels)
    later = Contrastive().prompts(tokens, labels[2:], 7, (2, 3))
    assert torch.equal(later, drawn[7][2:]), "drawn by the place in the step, whoever has it"


def test_attention_starts_as_pytorchs() -> None:
    torch.manual_seed(0)
    for block in ActionCLIP(num_frames=2).build(describe(CLIPConfig()), ["a"]).temporal.transformer.resblocks:
        assert block.attn.in_proj_weight.abs().max() <= (6 / (4 * 512)) ** 0.5 + 1e-6  # Xavier of a (3D, D) matrix
        assert not block.attn.in_proj_bias.any() and not block.attn.out_proj.bias.any()
        assert block.ln_1.eps == block.ln_2.eps == 1e-12


def test_shifting_is_what_the_names_say_or_what_is_asked_for(clip: dict[str, Tensor]) -> None:
    """The file of TSM differs from the plain one in its names alone, so an option may overrule them, and does so."""
    files = {"tsm": checkpoint(clip, "tsm_meanP"), "plain": checkpoint(clip, "meanP")}
    frames, found = torch.randn(1, 3, 3, 64, 64), {}
    for name, options in {
        "tsm": {},
        "plain": {},
        "tsm unshifted": {"shift": False},
        "plain shifted": {"shift": True},
    }.items():
        model = stillmotion.from_official("actionclip", files[name.split()[0]], **options)
        shifted = [isinstance(block, ShiftBlock) for block in model.visual.transformer.resblocks]
        assert shifted == [name in ("tsm", "plain shifted")] * len(shifted) and shifted
        with torch.no_grad():
            found[name] = model.temporal(model.visual(frames))
    assert torch.equal(found["tsm"], found["plain shifted"]) and torch.equal(found["plain"], found["tsm unshifted"])
    assert (found["tsm"] - found["plain"]).abs().max() > 1e-2


def test_bad_options_and_files(clip: dict[str, Tensor]) -> None:
    with pytest.raises(StillmotionError, match="choose one of meanP, Transf, Transf_cls, LSTM, Conv_1D"):
        ActionCLIP(pool="mean")  # type: ignore[arg-type]
    with pytest.raises(StillmotionError, match="num-frames is 80, positions 77; raise --positions"):
        ActionCLIP(num_frames=80)
    broken = checkpoint(clip, "Transf")
    del broken["fusion_model_state_dict"]["module.frame_position_embeddings.weight"]
    with pytest.raises(WeightsError, match="frame_position_embeddings"):
        stillmotion.from_official("actionclip", broken)
