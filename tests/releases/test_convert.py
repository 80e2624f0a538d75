"""Published checkpoints become files of ours, and go back to what the releases and transformers load."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import stillmotion
from stillmotion.checkpoint import load_model, read_card
from stillmotion.cli import main
from stillmotion.methods import METHODS
from stillmotion.recipes import RECIPES
from stillmotion.releases import RELEASES
from stillmotion.weights.readers import read_state
from tests.golden.recipe import weight
from tests.methods import test_a5, test_actionclip, test_vificlip
from tests.methods.golden_clip import clip_state
from tests.methods.test_xclip import GOLDEN as XCLIP_GOLDEN
from tests.methods.test_xclip import random_xclip

SEED = 22


@pytest.fixture(scope="module")
def clip() -> dict[str, Tensor]:
    return clip_state(SEED)


@pytest.fixture(scope="module")
def clip_file(clip: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(clip, path)
    return path


def xclip(clip: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    return {"model": clip | {k: weight(k, tuple(s), SEED) for k, s in XCLIP_GOLDEN["shapes"].items()}}


CASES = {
    "vificlip": lambda clip: {"model": test_vificlip.as_release(clip)},
    "vificlip_prompts": lambda clip: {"model": test_vificlip.prompted(clip, "vl_few_shot")},
    "xclip": xclip,
    "actionclip": lambda clip: test_actionclip.checkpoint(clip, "Transf"),
    "actionclip_tsm": lambda clip: test_actionclip.checkpoint(clip, "tsm_meanP"),
}


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(case: str, clip: dict[str, Tensor], clip_file: Path, tmp_path: Path) -> None:
    """What is written equals what was read, and the file of ours gives the same logits."""
    method, official = case.partition("_")[0], CASES[case](clip)
    torch.save(official, tmp_path / "official.pth")
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.pth"
    words = ["convert", tmp_path / "official.pth", "--method", method, "-o", ours, "--clip", clip_file]
    main(list(map(str, words)))
    card = read_card(ours)
    assert card.training["sha256"] and card.training["converted_from"] == "official.pth"
    model, _ = load_model(ours)
    direct = stillmotion.from_official(method, tmp_path / "official.pth", clip=clip)
    assert all(torch.equal(v, direct.state_dict()[k]) for k, v in model.state_dict().items())
    tokens, T = model.prompt(["brush hair", "run"]), card.method.num_frames
    T = 4 if method == "xclip" else min(T, 2)
    video = torch.randn(1, T, 3, 64, 64)
    with torch.no_grad():
        logits = model.classify(video, model.encode_text(tokens))
        assert torch.equal(logits, direct.classify(video, direct.encode_text(tokens)))
    main(list(map(str, ["convert", ours, "--to", "official", "-o", back])))
    theirs = read_state(tmp_path / "official.pth")
    buffers = ("complete_text_embeddings", "token_prefix", "token_suffix")
    expected = {k: v for k, v in theirs.items() if not k.endswith(buffers)}
    written = read_state(back)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[k], expected[k]) for k in expected)


def test_what_clip_holds_is_not_stored_again(clip: dict[str, Tensor], clip_file: Path, tmp_path: Path) -> None:
    """Frozen towers are left out; without --clip they are stored."""
    torch.save({"model": test_vificlip.prompted(clip, "vl_few_shot")}, tmp_path / "p.pth")
    convert = ["convert", str(tmp_path / "p.pth"), "--method", "vificlip", "--clip", str(clip_file)]
    main([*convert, "-o", str(tmp_path / "small.safetensors")])
    kept = load_file(tmp_path / "small.safetensors")
    assert set(kept) == {
        "head.logit_scale", "text.stem.ctx", "visual.stem.VPT", "text.transformer.resblocks.1.VPT_shallow",
        "visual.transformer.resblocks.1.VPT_shallow", "visual.transformer.resblocks.2.VPT_shallow",
    }  # fmt: skip
    moved = {k: v + 1 if k.endswith("image_encoder.proj") else v for k, v in
             test_vificlip.prompted(clip, "vl_few_shot").items()}  # fmt: skip
    torch.save({"model": moved}, tmp_path / "p.pth")
    main([*convert, "-o", str(tmp_path / "large.safetensors")])
    assert "visual.proj" in load_file(tmp_path / "large.safetensors")


def test_a5_there_and_back(tmp_path: Path) -> None:
    clip = clip_state(test_a5.GOLDEN["seed"], test_a5.SHAPES)
    torch.save(test_a5.checkpoint(clip, {}), tmp_path / "a5.pth.tar")
    main(["convert", str(tmp_path / "a5.pth.tar"), "--method", "a5", "-o", str(tmp_path / "a5.safetensors")])
    main(["convert", str(tmp_path / "a5.safetensors"), "--to", "official", "-o", str(tmp_path / "back.pth")])
    expected, written = read_state(tmp_path / "a5.pth.tar"), read_state(tmp_path / "back.pth")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[k], expected[k]) for k in expected if k != "clipmodel.logit_scale")


def test_clip_and_xclip_load_in_transformers(clip_file: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    main(["convert", str(clip_file), "--method", "zero_shot", "-o", str(tmp_path / "c.safetensors")])
    main(["convert", str(tmp_path / "c.safetensors"), "--to", "hf", "-o", str(tmp_path / "clip")])
    ours, card = load_model(tmp_path / "c.safetensors")
    theirs = transformers.CLIPModel.from_pretrained(tmp_path / "clip").eval()
    tokens, image = ours.prompt(["run", "brush hair"]), torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(input_ids=tokens, pixel_values=image).logits_per_image
        assert (ours.classify(image[:, None], ours.encode_text(tokens)) - expected).abs().max() <= 1e-4
    processor = transformers.CLIPImageProcessor.from_pretrained(tmp_path / "clip")
    assert tuple(processor.image_mean) == card.preprocess.mean

    model = random_xclip(2, small=True)
    model.save_pretrained(tmp_path / "xclip_hf")
    main(["convert", str(tmp_path / "xclip_hf"), "--method", "xclip", "-o", str(tmp_path / "x.safetensors")])
    main(["convert", str(tmp_path / "x.safetensors"), "--to", "hf", "-o", str(tmp_path / "xclip")])
    again = transformers.XCLIPModel.from_pretrained(tmp_path / "xclip").eval()
    video = torch.randn(1, 2, 3, 32, 32)
    with torch.no_grad():
        a, b = (m(input_ids=tokens, pixel_values=video).logits_per_video for m in (model, again))
    assert (a - b).abs().max() <= 1e-6


def test_a_closed_set_takes_its_names_from_a_file(
    tiny_clip: Path, tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """EVL's file holds decoder and head; the frozen tower stays where it is, and is not stored again."""
    from stillmotion.backbones.load import load_backbone
    from stillmotion.backbones.weights import load_into
    from stillmotion.methods import EVL

    method, weights = EVL(num_frames=4, layers=2), load_backbone(str(tiny_clip))
    model = method.build(weights.backbone, ["x", "y", "z"]).eval()
    load_into(model, weights.state, new=method.new_parameters(), source="tiny")
    torch.save(RELEASES["evl"].write(method, model.state_dict()), tmp_path / "evl.pth")
    (tmp_path / "names.csv").write_text("id,name\n0,surfing\n1,skiing\n2,chess\n")
    words = ["convert", tmp_path / "evl.pth", "--method", "evl", "--clip", tiny_clip, "-o", tmp_path / "e.safetensors"]
    main(list(map(str, [*words, "--labels", tmp_path / "names.csv"])))
    assert all(k.startswith(("temporal.", "head.")) for k in load_file(tmp_path / "e.safetensors"))
    classifier = stillmotion.load(tmp_path / "e.safetensors", device="cpu")
    assert classifier.classes == ("surfing", "skiing", "chess") and classifier.num_frames == 4
    clip = torch.randn(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(classifier.model.classify(clip), model.classify(clip))
    assert classifier(video).label in classifier.classes
    (tmp_path / "names.csv").write_text("id,name\n0,surfing\n1,skiing\n")
    with pytest.raises(SystemExit):
        main(list(map(str, [*words[:-1], tmp_path / "f.safetensors", "--labels", tmp_path / "names.csv"])))
    assert "2 class names for a head of 3 classes" in capsys.readouterr().err


def test_a_hugging_face_folder_says_its_activation_and_heads(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=sizes | {"hidden_act": "gelu", "vocab_size": 49408},
        vision_config=sizes | {"hidden_act": "gelu", "image_size": 32, "patch_size": 16},
        projection_dim=32,
    )
    theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path / "hf")
    (tmp_path / "hf" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [1] * 3})
    )
    main(["convert", str(tmp_path / "hf"), "--method", "zero_shot", "-o", str(tmp_path / "z.safetensors")])
    ours, card = load_model(tmp_path / "z.safetensors")
    direct = stillmotion.from_official("zero_shot", tmp_path / "hf")
    tokens, image = ours.prompt(["run", "brush hair"]), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(input_ids=tokens, pixel_values=image).logits_per_image
        for model in (ours, direct):
            assert (model.classify(image[:, None], model.encode_text(tokens)) - expected).abs().max() <= 1e-5
    assert card.preprocess.mean == (0.5, 0.5, 0.5) and card.backbone.sizes["activation"] == "gelu"


def test_a_converted_model_reads_the_names_of_the_data(
    tiny_clip: Path, folder_of_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tmp_path / "z.safetensors")
    main(["convert", str(tiny_clip), "--method", "zero_shot", "-o", model])
    main(["eval", model, "--data", str(folder_of_videos), "--out", str(tmp_path / "a")])
    (tmp_path / "names.csv").write_text("id,name\n0,right\n1,left\n")
    words = ["eval", model, "--data", str(folder_of_videos), "--labels", str(tmp_path / "names.csv")]
    main([*words, "--out", str(tmp_path / "b")])
    found = [json.loads((tmp_path / n / "eval.json").read_text()) for n in "ab"]
    assert found[0]["top1"] == found[1]["top1"]
    assert [f["classes"] for f in found] == [["left", "right"], ["right", "left"]]
    main(["eval", model, "--data", str(folder_of_videos), "--clean-names", "--out", str(tmp_path / "c")])
    assert json.loads((tmp_path / "c" / "eval.json").read_text())["classes"] == ["left", "right"]


@pytest.mark.parametrize(("frames", "expected"), [((), 32), (("--num-frames", "7"), 7)])
def test_frames_that_the_tensors_do_not_show(
    frames: tuple[str, ...], expected: int, clip: dict[str, Tensor], clip_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    torch.save({"model": test_vificlip.as_release(clip)}, tmp_path / "v.pth")
    out = tmp_path / "v.safetensors"
    words = ["convert", str(tmp_path / "v.pth"), "--method", "vificlip", "--clip", str(clip_file), "-o", str(out)]
    main([*words, *frames])
    assert read_card(out).method.num_frames == expected
    assert f"frames of a view: {expected}" in capsys.readouterr().out


def test_the_input_is_never_the_output(tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = tmp_path / "z.safetensors"
    main(["convert", str(tiny_clip), "--method", "zero_shot", "-o", str(ours)])
    before = ours.read_bytes()
    (tmp_path / "folder.pth").mkdir()
    for out, message in (
        (ours, "is the file to read; write to another place"),
        (tmp_path / "x.safetensors", "this writes a .pth"),
        (tmp_path / "folder.pth", "it is a folder; name a file"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["convert", str(ours), "--to", "official", "-o", str(out)])
        assert stop.value.code == 2 and message in capsys.readouterr().err
    assert ours.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say either --method NAME"),
        (["--method", "evl", "--to", "hf"], "say either --method NAME"),
        (["--method", "linear_probe"], "no release of 'linear_probe' is read"),
        (["--method", "x-clip"], "did you mean 'xclip'"),
        (["--method", "xclip"], "not a checkpoint of X-CLIP"),
        (["--method", "evl"], "EVL checkpoints hold no backbone"),
        (["--method", "evl"], "pass --clip, the CLIP weights"),
        (
            ["--method", "zero_shot", "--prefix", "3"],
            "zero_shot has no size 'prefix'; choose from num_frames, templates",
        ),
        (["--method=xclip", "--template-=x"], "unknown option"),
        (["--to", "hf", "--taps", "3"], "unknown option"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(SystemExit) as stop:
        main(["convert", str(clip_file), "-o", str(out), *words])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and error.count("\n") == 1
    assert not out.exists() and not list(tmp_path.iterdir())


def test_every_release_has_a_recipe_that_says_how_it_reads_videos() -> None:
    assert all(type(RECIPES[release.recipe]().method) is METHODS[name] for name, release in RELEASES.items())


def test_models_without_a_place_in_transformers_say_so(
    clip: dict[str, Tensor], clip_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": test_vificlip.prompted(clip, "vl_few_shot")}, tmp_path / "p.pth")
    main(["convert", str(tmp_path / "p.pth"), "--method", "vificlip", "--clip", str(clip_file), "-o",
          str(tmp_path / "p.safetensors")])  # fmt: skip
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path / "p.safetensors"), "--to", "hf", "-o", str(tmp_path / "hf")])
    assert "no place for learned prompts" in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()
