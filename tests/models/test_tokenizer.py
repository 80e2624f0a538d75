"""The tokenizer of a backbone is its own: a folder's where it has one, and ids that its text tower knows."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from stillmotion.backbones.clip import TextTransformer
from stillmotion.backbones.clip_files import clip_config
from stillmotion.backbones.load import load_backbone
from stillmotion.errors import StillmotionError
from stillmotion.methods import ZeroShot
from stillmotion.models.tokenizer import tokenize

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "run", "walk", "."]
CONTEXT = 12


def own_tokenizer(folder: Path) -> None:
    """A word for a token, as BERT marks the ends, in the files that transformers reads."""
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    table = {word: i for i, word in enumerate(WORDS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    inner.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    inner.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    settings |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture
def folder(tmp_path: Path, tiny_clip: Path) -> Path:
    """An open_clip model folder whose text tower knows ten words, and twelve of them in a row."""
    state = load_file(tiny_clip)
    state["token_embedding.weight"] = state["token_embedding.weight"][: len(WORDS)].clone()
    state["positional_embedding"] = state["positional_embedding"][:CONTEXT].clone()
    save_file(state, tmp_path / "open_clip_model.safetensors")
    own_tokenizer(tmp_path)
    configure(tmp_path, {})
    return tmp_path


def configure(folder: Path, more: dict[str, Any]) -> None:
    text = {"width": 64, "layers": 2, "heads": 1, "vocab_size": len(WORDS), "context_length": CONTEXT}
    text |= {"hf_tokenizer_name": "bert-base-uncased", "tokenizer_kwargs": {"strip_sep_token": True}} | more
    vision = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 3}
    model = {"embed_dim": 32, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))


def test_a_folders_own_tokenizer_is_used(folder: Path) -> None:
    weights = load_backbone(str(folder))
    assert clip_config(weights).tokenizer == f"local-dir:{folder}"
    model = ZeroShot().build(weights.backbone, ["run"])
    assert model.templates == ("{}",)
    tokens = model.prompt(["run", "walk"])
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert torch.equal(tokens, theirs(["run", "walk"]))
    assert tokens.shape == (2, CONTEXT) and int(tokens.max()) < len(WORDS)
    assert tokens[0].tolist() == [2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]  # without the [SEP] that the folder strips
    text = TextTransformer(clip_config(weights))
    text.load_state_dict({k: v for k, v in weights.state.items() if k in text.state_dict()})
    assert text(tokens).shape == (2, 32)


def test_nothing_is_cut(folder: Path) -> None:
    name = f"local-dir:{folder}"
    assert tokenize(["run " * 10], name).shape == (1, CONTEXT)
    with pytest.raises(StillmotionError, match="has 11 tokens, at most 10 fit; shorten it"):
        tokenize(["run " * 11], name)


def test_a_context_of_another_length_with_openais_words(folder: Path) -> None:
    configure(folder, {"hf_tokenizer_name": "", "tokenizer_kwargs": {}, "vocab_size": 49408})
    assert tokenize(["run"], f"local-dir:{folder}").shape == (1, CONTEXT)
    with pytest.raises(StillmotionError, match="has 11 tokens, at most 10 fit"):
        tokenize(["run " * 11], f"local-dir:{folder}")


def test_ids_that_the_text_tower_does_not_know(folder: Path) -> None:
    configure(folder, {"hf_tokenizer_name": "", "tokenizer_kwargs": {}})
    model = ZeroShot().build(load_backbone(str(folder)).backbone, ["run"])
    with pytest.raises(StillmotionError, match=r"gives id 49407, the text tower knows 10 tokens; pass") as error:
        model.prompt(["run"])
    assert "\n" not in str(error.value)
    assert tokenize(["run"], vocab_size=49408).max() == 49407


@pytest.mark.parametrize(
    "option", [{"trust_remote_code": True}, {"bpe_path": "/etc/passwd"}, {"tokenizer_file": "x"}, {"cache_dir": "x"}]
)
def test_options_that_reach_out_of_the_folder(folder: Path, option: dict[str, Any]) -> None:
    configure(folder, {"tokenizer_kwargs": option})
    with pytest.raises(StillmotionError, match=f"set {next(iter(option))}, which is not followed"):
        tokenize(["run"], f"local-dir:{folder}")


def test_code_in_a_folder_is_not_run(folder: Path) -> None:
    settings = {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "evil.py").write_text(f"open({str(folder / 'executed')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(StillmotionError, match="cannot be had") as error:
        tokenize(["run"], f"local-dir:{folder}")
    assert "\n" not in str(error.value)
    assert not (folder / "executed").exists()


def test_tokenizers_that_are_not_there(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    for model in (f"local-dir:{folder}", f"local-dir:{folder / 'gone'}", "local-dir:", "ViT-B-61", "hf-hub:a/b", ""):
        with pytest.raises(StillmotionError, match=r"cannot be had .*; pass the backbone as") as error:
            tokenize(["run"], model)
        assert "\n" not in str(error.value)
    for text in ("[1]", "{", '{"model_cfg": 3}', "[" * 10**5, '{"model_cfg": {"text_cfg": {"tokenizer_kwargs": 3}}}'):
        (folder / "open_clip_config.json").write_text(text)
        with pytest.raises(StillmotionError, match="cannot be had"):
            tokenize(["run"], f"local-dir:{folder}")


def test_without_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(StillmotionError, match=r"pip install 'stillmotion\[transformers\]'"):
        tokenize(["run"], f"local-dir:{folder}")


def test_a_tokenizer_of_the_hub_without_a_hub(tmp_path: Path) -> None:
    """ViT-H-14-CLIPA reads BERT's words, which open_clip fetches; where they cannot be had it is one line."""
    pytest.importorskip("transformers")
    code = "from stillmotion.models.tokenizer import tokenize\ntry: tokenize(['run'], 'ViT-H-14-CLIPA')\n"
    code += "except ValueError as error: print(error)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    (line,) = done.stdout.splitlines()
    assert (
        "the tokenizer of ViT-H-14-CLIPA cannot be had" in line and "pass the backbone as an open_clip folder" in line
    )
