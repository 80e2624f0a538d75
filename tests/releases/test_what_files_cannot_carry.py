"""A model that goes to its release and comes back reads videos as before; where it cannot, that is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import stillmotion
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import load_into
from stillmotion.checkpoint import Card, fingerprints, load_model, read_card, save_model
from stillmotion.cli import main
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError
from stillmotion.methods import EVL, LinearProbe, Method, ViFiCLIP, ZeroShot

SAMPLING = Sampling(scheme="segments", views=2, crops=3)
PIXELS = Preprocess(size=(32, 32), mean=(0.5, 0.4, 0.3), interpolation="bilinear", short_side=40)
CLASSES, NAMES = ("brush_hair", "run"), ("brush hair", "run")


def trained(method: Method, clip: Path, out: Path) -> Path:
    """A file of ours, as training writes it."""
    torch.manual_seed(3)
    weights = load_backbone(str(clip))
    model = method.build(weights.backbone, NAMES).eval()
    load_into(model, weights.state, new=method.new_parameters(), source="tiny")
    card = Card(
        method=method, classes=CLASSES, names=NAMES, backbone=weights.backbone, backbone_name=str(clip),
        fingerprints=fingerprints(model, weights, method.new_parameters())[0], preprocess=PIXELS, sampling=SAMPLING,
        training={"data": "a folder of mine"},
    )  # fmt: skip
    save_model(out, model.state_dict(), card)
    return out


def convert(*words: object) -> None:
    main(["convert", *map(str, words)])


# The options that no tensor shows: heads, taps and a head's width; a prompt; the dropout of training.
OURS: dict[str, Method] = {
    "evl": EVL(num_frames=5, layers=2, taps=(-3, -1), heads=4, positions=False, dropout=0.25),
    "vificlip": ViFiCLIP(num_frames=3, template="a video of {}"),
    "zero_shot": ZeroShot(num_frames=6, templates=("{}", "a video of {}")),
}


@pytest.mark.parametrize("name", OURS)
def test_there_and_back_reads_videos_as_before(
    name: str, tiny_clip: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs, again = (tmp_path / file for file in ("a.safetensors", "b.pth", "c.safetensors"))
    trained(OURS[name], tiny_clip, ours)
    convert(ours, "--to", "official", "-o", theirs)
    said = capsys.readouterr()
    note = said.err.strip()
    assert said.out == f"{theirs}\n" and note.count("\n") == 0
    assert f"{OURS[name].num_frames} frames; segments, 2 views, 3 crops, bilinear" in note
    assert f"`stillmotion convert --method {name}` reads them back" in note
    clip = ("--clip", tiny_clip) if name != "zero_shot" else ()
    convert(theirs, "--method", name, *clip, "-o", again)
    out = capsys.readouterr().out
    assert f"frames of a view: {OURS[name].num_frames}\n" in out
    assert "read as the model that this file was written from: segments, 2 views, 3 crops, bilinear" in out
    before, after = read_card(ours), read_card(again)
    for field in ("method", "classes", "names", "backbone", "preprocess", "sampling"):
        assert getattr(before, field) == getattr(after, field), field
    scores = [stillmotion.load(file, device="cpu")(video).scores for file in (ours, again)]
    assert scores[0] == scores[1] and set(scores[0]) == set(CLASSES)


def test_only_the_weights_are_where_the_release_looks(tiny_clip: Path, tmp_path: Path) -> None:
    convert(trained(OURS["evl"], tiny_clip, tmp_path / "a.safetensors"), "--to", "official", "-o", tmp_path / "b.pth")
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    assert set(content) == {"model", "stillmotion"}
    assert all(isinstance(v, Tensor) and k.startswith("module.") for k, v in content["model"].items())
    kept = json.loads(content["stillmotion"])
    assert kept["training"] == {} and kept["classes"] == list(CLASSES)
    read = {"checkpoint": content, "clip": load_file(tiny_clip)}
    model = stillmotion.from_official("evl", **read)
    assert model.class_names == NAMES and model.temporal.blocks == (0, 2)
    ours, _ = load_model(tmp_path / "a.safetensors")
    clip = torch.randn(1, 5, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.classify(clip), ours.classify(clip))
        del content["stillmotion"]  # then the tensors alone count, and what they do not show is asked for again
        other = stillmotion.from_official("evl", **read)
        assert not torch.equal(other.classify(clip), ours.classify(clip))
        told = stillmotion.from_official("evl", **read, heads=4, taps=(-3, -1), num_frames=5)
        assert torch.equal(told.classify(clip), ours.classify(clip))


def test_what_is_said_wins_over_what_was_kept(tiny_clip: Path, tmp_path: Path) -> None:
    convert(trained(OURS["evl"], tiny_clip, tmp_path / "a.safetensors"), "--to", "official", "-o", tmp_path / "b.pth")
    (tmp_path / "names.csv").write_text("id,name\n0,left\n1,right\n")
    convert(tmp_path / "b.pth", "--method", "evl", "--clip", tiny_clip, "-o", tmp_path / "c.safetensors",
            "--num-frames", 7, "--labels", tmp_path / "names.csv")  # fmt: skip
    card = read_card(tmp_path / "c.safetensors")
    assert card.method == replace(OURS["evl"], num_frames=7)
    assert card.classes == card.names == ("left", "right") and card.sampling == SAMPLING


def test_a_folder_for_transformers_keeps_it_too(
    tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(trained(OURS["zero_shot"], tiny_clip, tmp_path / "a.safetensors"), "--to", "hf", "-o", tmp_path / "hf")
    assert "does not know how this model reads videos (6 frames; segments, 2 views" in capsys.readouterr().err
    convert(tmp_path / "hf", "--method", "zero_shot", "-o", tmp_path / "c.safetensors")
    before, after = read_card(tmp_path / "a.safetensors"), read_card(tmp_path / "c.safetensors")
    for field in ("method", "classes", "names", "backbone", "preprocess", "sampling"):
        assert getattr(before, field) == getattr(after, field), field


def test_a_release_of_its_own_says_how_it_is_read(
    tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(trained(OURS["evl"], tiny_clip, tmp_path / "a.safetensors"), "--to", "official", "-o", tmp_path / "b.pth")
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    torch.save({"model": content["model"]}, tmp_path / "bare.pth")
    capsys.readouterr()
    convert(tmp_path / "bare.pth", "--method", "evl", "--clip", tiny_clip, "-o", tmp_path / "c.safetensors")
    out = capsys.readouterr().out
    assert "read as the release of evl: dense at stride 16, 3 views, 1 crop, bilinear without antialiasing" in out
    assert read_card(tmp_path / "c.safetensors").sampling.scheme == "dense"


@pytest.mark.parametrize("entry", ["{", "[]", "{}", '{"method": "nothing"}', "[" * 100_000, 3])
def test_a_damaged_entry(entry: object, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": load_file(tiny_clip), "stillmotion": entry}, tmp_path / "b.pth")
    words = (tmp_path / "b.pth", "--method", "zero_shot", "-o", tmp_path / "c.safetensors")
    if entry == 3:  # somebody else's key of that name
        convert(*words)
        return
    with pytest.raises(SystemExit) as stop:
        convert(*words)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "'stillmotion'" in error
    assert not (tmp_path / "c.safetensors").exists()


def test_methods_without_a_release_say_so(tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(LinearProbe(), tiny_clip, tmp_path / "a.safetensors")
    for layout, message in (("official", "no official release"), ("hf", "plain CLIP and X-CLIP, no LinearProbe")):
        with pytest.raises(SystemExit):
            convert(
                tmp_path / "a.safetensors", "--to", layout, "-o", tmp_path / ("b.pth" if layout == "official" else "b")
            )
        assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_towers_of_another_kind_have_no_place_there(
    tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stillmotion.backbones.load import KINDS

    clip = KINDS["clip"]
    other = clip._replace(describe=lambda *sizes: replace(clip.describe(*sizes), kind="other"))
    monkeypatch.setitem(KINDS, "other", other)
    path = trained(OURS["zero_shot"], tiny_clip, tmp_path / "a.safetensors")
    card = read_card(path)
    state = load_model(path)[0].state_dict()
    save_model(path, state, replace(card, fingerprints={}, backbone=replace(card.backbone, kind="other")))
    with pytest.raises(SystemExit) as stop:
        convert(path, "--to", "official", "-o", tmp_path / "b.pth")
    assert stop.value.code == 2 and "have CLIP's own towers" in capsys.readouterr().err
    assert not (tmp_path / "b.pth").exists()


DAMAGE = {
    "missing": lambda s: {k: v for k, v in s.items() if k != "visual.ln_post.weight"},
    "not in the model": lambda s: s | {"visual.surprise": torch.zeros(2)},
    "misshapen": lambda s: s | {"visual.ln_post.weight": torch.zeros(7)},
    "64 of the 64 values of visual.ln_post.weight are nan or infinite": lambda s: (
        s | {"visual.ln_post.weight": torch.full((64,), torch.nan)}
    ),
    "values of visual.ln_post.weight are nan": lambda s: (
        s | {"visual.ln_post.weight": torch.full((64,), 1e300, dtype=torch.float64)}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_could_not_be_loaded_again_is_not_written(
    damage: str, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = DAMAGE[damage](load_file(tiny_clip))
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(SystemExit) as stop:
        convert(tmp_path / "b.pth", "--method", "zero_shot", "-o", tmp_path / "c.safetensors")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and damage in error and error.count("\n") == 1
    assert not (tmp_path / "c.safetensors").exists()
    with pytest.raises(WeightsError, match=damage):
        stillmotion.from_official("zero_shot", state)


def test_clip_may_be_a_name(tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `load` and `convert`; here the name stands for a local file whose heads no tensor shows."""
    from stillmotion.releases import official

    state = load_file(tiny_clip)
    weights, asked = load_backbone(str(tiny_clip), vision_heads=2), []

    def found(name: str, image_size: object = None) -> object:
        asked.append((name, image_size))
        return weights

    trained(OURS["evl"], tiny_clip, tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", "--to", "official", "-o", tmp_path / "b.pth")
    checkpoint = {"model": torch.load(tmp_path / "b.pth", weights_only=True)["model"]}
    monkeypatch.setattr(official, "load_backbone", found)
    by_name = stillmotion.from_official("evl", checkpoint, clip="ViT-B-16:openai-int8", num_frames=5)
    by_state = stillmotion.from_official("evl", checkpoint, clip=state, num_frames=5, vision_heads=2)
    assert asked == [("ViT-B-16:openai-int8", None)]
    clip = torch.randn(1, 5, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(by_name.classify(clip), by_state.classify(clip))


def test_names_that_are_neither_a_file_nor_a_model_say_so() -> None:
    with pytest.raises(WeightsError, match=r"'ViT-B-16\.ptt' is neither a file or folder nor MODEL:TAG"):
        stillmotion.from_official("evl", {}, clip="ViT-B-16.ptt")


def test_an_option_that_the_tensors_contradict(tiny_clip: Path, tmp_path: Path) -> None:
    trained(EVL(num_frames=5, layers=2), tiny_clip, tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", "--to", "official", "-o", tmp_path / "b.pth")
    read = {"checkpoint": tmp_path / "b.pth", "clip": tiny_clip}
    assert stillmotion.from_official("evl", **read, num_frames=5).temporal.num_frames == 5
    with pytest.raises(WeightsError, match="num_frames is 8, and the tensors show 5; leave it out"):
        stillmotion.from_official("evl", **read, num_frames=8)
    with pytest.raises(WeightsError, match="evl has no size 'tap'; did you mean 'taps'"):
        stillmotion.from_official("evl", **read, tap=(-1,))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("decoder.decoder_layers.0.attn.q_proj.weight", None),
        ("decoder.decoder_layers.0.attn.q_proj.weight", torch.ones(9)),
    ],
)
def test_a_file_that_lacks_what_its_sizes_are_read_off(
    name: str, tensor: Tensor | None, tiny_clip: Path, tmp_path: Path
) -> None:
    convert(trained(OURS["evl"], tiny_clip, tmp_path / "a.safetensors"), "--to", "official", "-o", tmp_path / "b.pth")
    state = torch.load(tmp_path / "b.pth", weights_only=True)["model"]
    state.pop(f"module.{name}")
    with pytest.raises(WeightsError, match="evl checkpoint lacks tensors, or some are misshapen") as error:
        stillmotion.from_official("evl", state | ({} if tensor is None else {f"module.{name}": tensor}), clip=tiny_clip)
    assert "\n" not in str(error.value)


def test_sizes_of_a_huge_model_take_no_memory(tiny_clip: Path) -> None:
    """A flat patch kernel says that the tower is as wide as it has numbers; that is compared before it is built."""
    state = load_file(tiny_clip)
    wide = torch.zeros(10**6)
    with pytest.raises(WeightsError):
        stillmotion.from_official("zero_shot", state | {"visual.conv1.weight": wide})
