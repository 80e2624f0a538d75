"""EVL: equal to the release, to a plain statement of its equations, and alive where the release crashes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import stillmotion
from stillmotion.backbones.clip import VisionTransformer, describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError
from stillmotion.methods import EVL
from stillmotion.methods.evl import EVLDecoder, Init
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.releases import evl
from tests.conftest import select, tiny_backbone, tiny_state
from tests.golden.recipe import load, picked, video, weight
from tests.models.test_affinity_and_table import plain_affinity, plain_attention, plain_offsets

GOLDEN = load("evl_tiny")


def golden_trunk() -> dict[str, Tensor]:
    """The release's trunk with its own names and recipe, as OpenAI's; its patch bias goes into the positions."""
    seed, preset = GOLDEN["seed"], GOLDEN["config"]["preset"]
    D, layers = preset["feature_dim"], preset["num_layers"]

    def theirs(name: str, *shape: int) -> Tensor:
        return weight(f"backbone.{name}", shape, seed)

    positions = theirs("pos_embed", 13, D)
    positions[1:] += theirs("patch_embed.proj.bias", D)
    state = {
        "visual.class_embedding": theirs("cls_token", D),
        "visual.positional_embedding": positions,
        "visual.conv1.weight": theirs("patch_embed.proj.weight", D, 768).view(D, 3, 16, 16),
        "visual.ln_pre.weight": theirs("ln_pre.weight", D),
        "visual.ln_pre.bias": theirs("ln_pre.bias", D),
    }
    for i in range(layers):
        ours, block = f"visual.transformer.resblocks.{i}.", f"blocks.{i}."
        for kind, shape in (("weight", (D, D)), ("bias", (D,))):
            qkv = [theirs(f"{block}attn.{p}_proj.{kind}", *shape) for p in "qkv"]
            state[f"{ours}attn.in_proj_{kind}"] = torch.cat(qkv)
            state[f"{ours}attn.out_proj.{kind}"] = theirs(f"{block}attn.out_proj.{kind}", *shape)
        for fc, name, (out, size) in (("fc1", "c_fc", (4 * D, D)), ("fc2", "c_proj", (D, 4 * D))):
            state[f"{ours}mlp.{name}.weight"] = theirs(f"{block}mlp.{fc}.weight", out, size)
            state[f"{ours}mlp.{name}.bias"] = theirs(f"{block}mlp.{fc}.bias", out)
        for norm, name in (("norm1", "ln_1"), ("norm2", "ln_2")):
            for kind in ("weight", "bias"):
                state[f"{ours}{name}.{kind}"] = theirs(f"{block}{norm}.{kind}", D)
    return state


def golden_checkpoint(case: dict[str, Any]) -> dict[str, Tensor]:
    """The release's state dict of one case; the shapes of one layer stand for those of all three."""
    shapes = dict(case["shapes"])
    for name, shape in case["shapes"].items():
        for layer in ("1", "2"):
            if ".0." in name:
                shapes[name.replace(".0.", f".{layer}.", 1)] = shape
            elif name.endswith(".0"):
                shapes[f"{name[:-2]}.{layer}"] = shape
    shapes |= {"proj.0.weight": [64], "proj.0.bias": [64], "proj.2.weight": [10, 64], "proj.2.bias": [10]}
    shapes = {k: v for k, v in shapes.items() if not k.startswith(("proj.1", "proj.0.0", "proj.2.0"))}
    return {f"module.{k}": weight(k, tuple(shape), GOLDEN["seed"]) for k, shape in shapes.items()}


def golden_model(case: dict[str, Any]) -> VideoCLIP:
    sizes = {"image_size": (48, 64), "vision_heads": 4, "heads": 2}
    if not case["flags"][1]:
        sizes["num_frames"] = 4
    return stillmotion.from_official("evl", golden_checkpoint(case), clip=golden_trunk(), **sizes)


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_equals_the_release(name: str) -> None:
    case = GOLDEN["cases"][name]
    model = golden_model(case)
    decoder = model.temporal
    assert isinstance(decoder, EVLDecoder)
    clip = video((2, 3, 4, 48, 64), GOLDEN["seed"], "evl").transpose(1, 2)
    outputs = case["outputs"]
    with torch.no_grad():
        features = model.visual(clip)
        for i, (out, q, k) in enumerate(tapped(decoder, model.visual, clip)):
            close(out.flatten(0, 1), outputs[f"features/{i}/out"])
            close(q.flatten(0, 1).transpose(1, 2), outputs[f"features/{i}/q"])
            close(k.flatten(0, 1).transpose(1, 2), outputs[f"features/{i}/k"])
        query = decoder.cls_token.expand(2, -1)
        for i, layer in enumerate(decoder.layers):
            if decoder.table is not None:
                block = decoder.blocks[i]
                still = torch.zeros_like(features[f"out.{block}"])
                motion = decoder.cross_attention[i](still, features[f"affinity.{block}"], decoder.table)
                close(motion, outputs[f"cross_attention/{i}"])
            query = layer(query, decoder.memory(i, features).flatten(1, 2))
            close(query[:, None], outputs[f"decoder_layer{i}"])
        logits = model.classify(clip)
    assert (logits - torch.tensor(case["logits"])).abs().max() <= 1e-5


def close(tensor: Tensor, expected: list[float]) -> None:
    assert (torch.tensor(picked(tensor)) - torch.tensor(expected)).abs().max() <= 1e-5


@pytest.mark.golden
def test_modules_are_inferred_from_the_keys() -> None:
    for case in GOLDEN["cases"].values():
        theirs = {k.removeprefix("module."): v for k, v in golden_checkpoint(case).items()}
        method = evl.read(theirs, golden_trunk(), num_frames=4).method
        assert [method.conv, method.positions, method.cross_attention] == [bool(f) for f in case["flags"]]
        assert (method.layers, method.inner_width, method.mlp_ratio, method.num_frames) == (3, 32, 2.0, 4)


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_goes_back_to_the_release(name: str) -> None:
    theirs, model = golden_checkpoint(GOLDEN["cases"][name]), golden_model(GOLDEN["cases"][name])
    written = evl.write(EVL(), model.state_dict())["model"]
    assert written.keys() == theirs.keys()
    assert all(torch.equal(written[k], theirs[k]) for k in theirs)


Tapped = list[tuple[Tensor, Tensor, Tensor]]


def tapped(decoder: EVLDecoder, tower: VisionTransformer, video: Tensor) -> Tapped:
    """Of the block of every layer: its output, and the unscaled queries and keys of its attention."""
    found: Tapped = []
    x = tower.embed(video)
    for block in tower.transformer.resblocks:
        found.append(block.tap(x)[:3])
        x = found[-1][0]
    return [found[block] for block in decoder.blocks]


def plain_decoder(decoder: EVLDecoder, found: Tapped) -> Tensor:
    """Sections 2.2 and 2.3 of the method, as equations: full projections, a gather, a transposed convolution."""
    query = decoder.cls_token.expand(found[0][0].shape[0], -1)
    for i, (layer, (X, q, k)) in enumerate(zip(decoder.layers, found)):
        B, T, L, D = X.shape
        Y = X
        if len(decoder.temporal_conv):
            conv = decoder.temporal_conv[i]
            series = X.permute(0, 2, 3, 1).reshape(B * L, D, T)
            moved = F.conv1d(series, conv.weight, conv.bias, padding=1, groups=D)
            Y = Y + moved.view(B, L, D, T).permute(0, 3, 1, 2)
        if len(decoder.temporal_pos_embed):
            Y = Y + decoder.temporal_pos_embed[i][None, :, None]
        if decoder.table is not None:
            back, ahead = plain_affinity(q[..., 1:, :], k[..., 1:, :])
            offsets, cross = plain_offsets(decoder.table.grid), decoder.cross_attention[i]
            motion = torch.zeros_like(X)
            motion[:, 1:, 1:] += torch.einsum("btqr,qrd->btqd", back, cross.w1[offsets])
            motion[:, :-1, 1:] += torch.einsum("btqr,qrd->btqd", ahead, cross.w2[offsets])
            Y = Y + motion
        query = query + plain_attention(layer.attn, layer.norm1(query), layer.norm3(Y.flatten(1, 2)))
        query = query + layer.mlp(layer.norm2(query))
    return query


@pytest.mark.parametrize("switches", [(1, 1, 1), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)])
def test_fast_forms_equal_the_plain_equations_in_float64(switches: tuple[int, int, int]) -> None:
    torch.manual_seed(3)
    conv, positions, cross = map(bool, switches)
    method = EVL(num_frames=6, layers=2, conv=conv, positions=positions, cross_attention=cross, heads=2, dropout=0.0)
    config = tiny_backbone(text=False, image_size=(32, 40))
    model = method.build(config, ["a", "b", "c"]).double().eval()
    with torch.no_grad():  # away from the zeros it starts at
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    clip = torch.randn(2, 6, 3, 32, 40, dtype=torch.float64)
    with torch.no_grad():
        features = model.visual(clip)
    parameters = dict(model.temporal.named_parameters())
    fast = model.temporal(features)
    model.visual.requires_grad_(False)
    plain = plain_decoder(model.temporal, tapped(model.temporal, model.visual, clip))
    assert (fast - plain).abs().max() <= 1e-12
    weights = torch.randn_like(fast)
    ours = torch.autograd.grad(fast, list(parameters.values()), weights)
    theirs = torch.autograd.grad(plain, list(parameters.values()), weights, allow_unused=False)
    for name, a, b in zip(parameters, ours, theirs):
        assert (a - b).abs().max() <= 1e-12 * max(1.0, b.abs().max().item()), name


@pytest.mark.parametrize("switches", [{}, {"conv": False, "positions": False}, {"cross_attention": False}])
def test_fine_tuning_the_backbone_works_and_is_exact(switches: dict[str, bool]) -> None:
    """The release crashes here: it adds motion in place to features that the backward pass still needs."""
    torch.manual_seed(4)
    method = EVL(num_frames=4, layers=3, heads=2, dropout=0.0, backbone_rate=0.1, **switches)
    model = method.build(tiny_backbone(text=False), ["a", "b"]).double()
    assert method.frozen is False
    rules = select(model, method.tune())
    assert "visual.conv1.weight" in rules
    assert rules["visual.conv1.weight"].lr_scale == 0.1
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    clip = torch.randn(2, 4, 3, 32, 32, dtype=torch.float64)
    trunk = [p for n, p in model.visual.named_parameters()]
    ours = torch.autograd.grad(model.temporal(model.visual(clip)).square().sum(), trunk)
    theirs = torch.autograd.grad(
        plain_decoder(model.temporal, tapped(model.temporal, model.visual, clip)).square().sum(), trunk
    )
    for a, b in zip(ours, theirs):
        assert (a - b).abs().max() <= 1e-11 * max(1.0, b.abs().max().item())
    assert all(a.abs().sum() > 0 for a in ours)


def test_the_towers_own_output_is_never_changed() -> None:
    for switches in ({}, {"conv": False}, {"conv": False, "positions": False}):
        model = EVL(num_frames=4, layers=2, heads=2, **switches).build(tiny_backbone(text=False), ["a", "b"]).eval()
        with torch.no_grad():
            for parameter in model.temporal.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            features = model.visual(torch.randn(1, 4, 3, 32, 32))
            before = {name: x.clone() for name, x in features.items()}
            model.temporal(features)
        assert all(torch.equal(x, features[name]) for name, x in before.items())


def test_initializations() -> None:
    torch.manual_seed(0)
    config = tiny_backbone(text=False)
    release, identity = (
        EVL(layers=2, heads=2, init=i).build(config, ["a", "b"]).temporal for i in ("release", "identity")
    )
    for decoder in (release, identity):
        assert torch.count_nonzero(decoder.cls_token) == 0
        assert all(torch.count_nonzero(p) == 0 for p in decoder.temporal_pos_embed)
        assert torch.count_nonzero(decoder.cross_attention[0].w1) == 0
        assert torch.count_nonzero(decoder.layers[0].attn.k_proj.bias) == 0
        assert 0 < decoder.layers[0].mlp.fc1.bias.abs().max() < 1e-4
    assert release.temporal_conv[0].weight.abs().max() > 0.5
    assert release.temporal_conv[0].weight.abs().max() <= 3**-0.5
    assert torch.count_nonzero(identity.temporal_conv[0].weight) == 0


def test_identity_starts_as_the_decoder_without_motion() -> None:
    config = tiny_backbone(text=False)
    torch.manual_seed(0)
    full = EVL(num_frames=4, layers=2, heads=2, init="identity").build(config, ["a", "b"]).eval()
    none = EVL(num_frames=4, layers=2, heads=2, conv=False, positions=False, cross_attention=False)
    bare = none.build(config, ["a", "b"]).eval()
    bare.load_state_dict({k: v for k, v in full.state_dict().items() if k in bare.state_dict()})
    clip = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        assert (full.classify(clip) - bare.classify(clip)).abs().max() <= 1e-6
        assert (bare.classify(clip) - bare.classify(clip.flip(1))).abs().max() <= 1e-6, "it must not see order"


def test_motion_tables_start_blind_to_a_still_scene() -> None:
    """With `init="motion"` the cross-attention adds nothing to frames that have equal neighbors on both sides."""
    torch.manual_seed(0)
    method = EVL(num_frames=5, layers=2, heads=2, init="motion", conv=False, positions=False)
    model = method.build(tiny_backbone(text=False), ["a", "b"]).eval()
    still = torch.randn(2, 1, 3, 32, 32).expand(-1, 5, -1, -1, -1)
    moving = torch.randn(2, 5, 3, 32, 32)
    with torch.no_grad():
        for clip, sees in ((still, False), (moving, True)):
            features = model.visual(clip)
            added = model.temporal.memory(0, features) - features["out.1"]
            assert (added[:, 1:-1].abs().max() > 1e-2) == sees
            assert added[:, [0, -1]].abs().max() > 1e-2, "the first frame has no past, the last one no future"
    positions = EVL(num_frames=8, layers=4, heads=2, taps=(0, 1, 2, 2), init="motion").build(
        tiny_backbone(False), ["a"]
    )
    table = torch.stack(list(positions.temporal.temporal_pos_embed))
    assert 0.25 < table.std() < 0.35
    assert torch.count_nonzero(positions.temporal.temporal_conv[0].weight) == 0


def test_published_parameter_counts() -> None:
    """EVL B/16, 8 frames, 400 classes: 28.704 M without cross-frame attention, 33.183 M with; one layer 7.409 M."""
    from stillmotion.backbones.config import CLIPConfig

    names = [str(i) for i in range(400)]

    def count(**switches: Any) -> int:
        with torch.device("meta"):
            model = EVL(**switches).build(describe(CLIPConfig(text=None)), names)
        return sum(p.numel() for n, p in model.named_parameters() if not n.startswith("visual."))

    assert round(count(cross_attention=False) / 1e6, 3) == 28.704
    assert round(count() / 1e6, 3) == 33.183
    assert round(count(layers=1, cross_attention=False) / 1e6, 3) == 7.409


def test_any_size_builds_and_runs_on_the_meta_device() -> None:
    from stillmotion.backbones.config import CLIPConfig

    for name, layers in (("ViT-L-14-336-quickgelu", 24), ("ViT-B-32-quickgelu", 4)):
        config = CLIPConfig.published(name)
        with torch.device("meta"):
            model = EVL(layers=layers, num_frames=2).build(describe(config), ["a"] * 174).eval()
            h, w = config.vision.image_size
            assert model.classify(torch.empty(1, 2, 3, h, w)).shape == (1, 174)


def test_taps_by_index() -> None:
    config = tiny_backbone(text=False)
    model = EVL(num_frames=2, layers=3, heads=2, taps=(-1, 0, -1)).build(config, ["a", "b"]).eval()
    with torch.no_grad():
        features = model.visual(torch.randn(1, 2, 3, 32, 32))
    assert model.temporal.blocks == (2, 0, 2)
    assert list(features) == ["affinity.0", "out.0", "affinity.2", "out.2"]
    assert not torch.equal(features["out.0"], features["out.2"])
    with pytest.raises(StillmotionError, match=r"2 taps \(-1, -2\) for 3 decoder layers; give one tap per layer"):
        EVL(layers=3, taps=(-1, -2)).build(config, ["a"])
    with pytest.raises(StillmotionError, match=r"block -9 is outside a tower of 3 blocks; use -3 to 2"):
        EVL(layers=1, taps=(-9,)).build(config, ["a"])


def test_another_number_of_frames() -> None:
    model = EVL(num_frames=4, layers=2, heads=2).build(tiny_backbone(text=False), ["a", "b"]).eval()
    clip = torch.randn(1, 8, 3, 32, 32)
    with pytest.raises(
        StillmotionError, match=r"positions for 4 frames, the video has 8; sample 4 frames, or call .*resize_time\(8\)"
    ):
        model.classify(clip)
    with torch.no_grad():
        for table in model.temporal.temporal_pos_embed:
            table.copy_(torch.arange(4.0)[:, None].expand_as(table))
    model.temporal.resize_time(8)
    assert model.classify(clip).shape == (1, 2)
    assert torch.allclose(
        model.temporal.temporal_pos_embed[0][:, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    )


def test_exports_with_a_dynamic_batch() -> None:
    model = EVL(num_frames=4, layers=2, heads=2).build(tiny_backbone(text=False), ["a", "b", "c"]).eval()
    with torch.no_grad():
        for parameter in model.temporal.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        exported = torch.export.export(
            model, (torch.randn(2, 4, 3, 32, 32),), dynamic_shapes={"video": {0: torch.export.Dim("batch")}}
        )
        clip = torch.randn(5, 4, 3, 32, 32)
        assert (exported.module()(clip) - model(clip)).abs().max() <= 1e-5


def test_attention_sums_to_one_and_reads_what_the_forward_reads() -> None:
    model = EVL(num_frames=4, layers=2, heads=2).build(tiny_backbone(text=False), ["a", "b"]).eval()
    with torch.no_grad():
        features = model.visual(torch.randn(3, 4, 3, 32, 32))
        weights = model.temporal.attention(features)
    assert weights.shape == (3, 2, 2, 4, 17)
    assert torch.allclose(weights.sum(dim=(-2, -1)), torch.ones(3, 2, 2))


@pytest.mark.parametrize("init", ["release", "motion"])
def test_autocast_agrees_with_float32(init: Init) -> None:
    """A value of bfloat16 is right to 0.4 %; the logits, of order one, to 4 % of their size."""
    torch.manual_seed(3)
    model = EVL(num_frames=4, layers=2, heads=2, init=init).build(tiny_backbone(text=False), ["a", "b"]).eval()
    clip = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        exact = model.classify(clip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model.classify(clip)
    assert exact.abs().min() > 0.05 and 0 < (exact - rough).norm() <= 0.04 * exact.norm()
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.classify(clip).float().sum().backward()
    assert model.temporal.cross_attention[0].w1.grad.dtype == torch.float32


def test_loading_needs_the_backbone() -> None:
    checkpoint = golden_checkpoint(GOLDEN["cases"]["full"])
    with pytest.raises(StillmotionError, match="pass clip="):
        stillmotion.from_official("evl", checkpoint)
    with pytest.raises(StillmotionError, match="3 class names for a head of 10 classes"):
        stillmotion.from_official(
            "evl", checkpoint, golden_trunk(), ["a", "b", "c"], image_size=(48, 64), vision_heads=4, heads=2
        )
    state = tiny_state(text=False)
    with pytest.raises(StillmotionError, match="not a checkpoint of EVL's release"):
        stillmotion.from_official("evl", state, state)


def test_method_is_plain_data() -> None:
    assert replace(EVL(), layers=2) == EVL(layers=2)


@pytest.mark.parametrize(
    ("tokens", "pool"),
    [
        ("all", lambda y: y.flatten(1, 2)),
        ("class_tokens", lambda y: y[:, :, 0]),
        ("frame_means", lambda y: y[:, :, 1:].mean(dim=2)),
        ("time_means", lambda y: y.mean(dim=1)),
    ],
)
def test_feature_shapes_of_table_6c(tokens: str, pool: Any) -> None:
    """The query reads what the table names, after the temporal modules."""
    torch.manual_seed(0)
    model = EVL(num_frames=4, layers=1, tokens=tokens).build(tiny_backbone(text=False), ["a", "b"]).eval()
    decoder = model.temporal
    assert isinstance(decoder, EVLDecoder)
    with torch.no_grad():
        features = model.visual(torch.randn(2, 4, 3, 32, 32))
        query = decoder.cls_token.expand(2, -1)
        expected = decoder.layers[0](query, pool(decoder.memory(0, features)))
        assert (decoder(features) - expected).abs().max() <= 1e-6
        seen = decoder.attention(features)
    assert torch.allclose(seen.sum(dim=(-1, -2)), torch.ones(2, 1, 1))


def test_unknown_feature_shapes_are_refused() -> None:
    with pytest.raises(StillmotionError, match="choose one of all, class_tokens, frame_means, time_means"):
        EVL(tokens="some")  # type: ignore[arg-type]


def test_the_largest_published_setting_builds() -> None:
    """SSv2, L/14 at 336 pixels: 24 layers read all 24 blocks, tables for a 24 x 24 grid (412 M new parameters)."""
    with torch.device("meta"):
        clip = describe(replace(CLIPConfig.published("ViT-L-14-336"), text=None))
        model = EVL(num_frames=32, layers=24).build(clip, [str(i) for i in range(174)])
    assert model.temporal.cross_attention[0].w1.shape == (2209, 1024)
    assert {f"out.{i}" for i in range(24)} <= model.visual.reads
    new = sum(p.numel() for p in model.temporal.parameters()) + sum(p.numel() for p in model.head.parameters())
    assert round(new / 1e6) == 412
