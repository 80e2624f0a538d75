"""Reduce the full golden outputs (a folder of NAME.json and NAME.safetensors) to the few numbers kept here.

python -m tests.golden.make FOLDER
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tests.golden.recipe import HERE, picked

Raw = dict[str, Any]
Tensors = dict[str, Tensor]


def case(tensors: Tensors, name: str) -> Tensors:
    return {k.removeprefix(f"{name}/"): v for k, v in tensors.items() if k.startswith(f"{name}/")}


def token_ids(rows: Tensor) -> list[list[int]]:
    return [[int(i) for i in row[row != 0]] for row in rows]


def evl(raw: Raw, tensors: Tensors) -> Raw:
    kept: Raw = {"seed": raw["seed"], "config": raw["config"], "cases": {}}
    for name, content in raw["cases"].items():
        t = case(tensors, f"cases/{name}")
        kept["cases"][name] = {
            "flags": content["flags"],
            "shapes": {k: s for k, s in content["state_dict_shapes"].items() if ".1." not in k and ".2." not in k},
            "logits": t["logits"].tolist(),
            "outputs": {k: picked(v) for k, v in t.items() if k != "logits"},
        }
    return kept


def vifi(raw: Raw, tensors: Tensors) -> Raw:
    kept: Raw = {"seed": raw["seed"], "class_names": raw["class_names"], "cases": {}}
    for name, content in raw["cases"].items():
        t, prompts = case(tensors, f"cases/{name}"), content["cfg"]["PROMPT_MODEL"]
        shapes = {k: s for k, s in content["state_dict_shapes"].items() if k.endswith(("VPT", "VPT_shallow", "ctx"))}
        kept["cases"][name] = {
            "prompts": shapes,
            "trainable": content["trainable"] if prompts or name == "finetune" else [],
            "tokens": token_ids(t["tokenized_prompts"]),
            "logits": t["logits"].tolist(),
            "outputs": {k: picked(t[k]) for k in ("frame_features", "text_features")},
        }
    return kept


def xclip(raw: Raw, tensors: Tensors) -> Raw:
    shapes = {k: s for k, s in raw["state_dict_without_token_embedding_shapes"].items() if ".message_" in k}
    shapes |= {
        k: s for k, s in raw["state_dict_without_token_embedding_shapes"].items() if k.startswith(("mit.", "prompts_"))
    }
    return {
        "seed": raw["seed"],
        "frames": raw["T"],
        "class_names": raw["class_names"],
        "shapes": shapes,
        "tokens": token_ids(tensors["text"]),
        "logits": tensors["logits"].tolist(),
        "outputs": {k: picked(v) for k, v in tensors.items() if k.startswith(("visual", "video", "text_f", "prompts"))},
    }


def actionclip(raw: Raw, tensors: Tensors) -> Raw:
    kept: Raw = {"seed": raw["seed"], "class_names": raw["class_names"], "heads": {}}
    for name, content in raw["heads"].items():
        t = case(tensors, f"heads/{name}")
        kept["heads"][name] = {
            "shapes": content.get("fusion_state_dict_shapes", {}),
            "tokens": token_ids(t["tokens"]) if name == "meanP" else [],
            "prob": t["prob"].tolist(),
            "outputs": {k: picked(t[k]) for k in ("frame_features", "text_features", "video_features")},
        }
    kernel = tensors["heads/Conv_1D/fusion_state_dict/shift.weight"]
    # 1 where the kernel looks; every channel has one place
    kept["heads"]["Conv_1D"]["kernel"] = kernel.flatten(1).argmax(dim=1).tolist()
    kept["kl_loss"] = {k: v.tolist() for k, v in case(tensors, "kl_loss").items()}
    return kept


def a5(raw: Raw, tensors: Tensors) -> Raw:
    kept: Raw = {"seed": raw["seed"], "class_names": raw["class_names"], "cases": {}}
    kept["shapes"] = raw["cases"]["A5"]["state_dict_shapes"]
    for name, content in raw["cases"].items():
        t = case(tensors, f"cases/{name}")
        kept["cases"][name] = {
            "kw": content["kw"],
            "tokens": [
                [int(i) for i in row[: int(end) + 1]] for row, end in zip(t["prompt_tokens"], t["eot_position"])
            ],
            "logits": t["logits"].tolist(),
            "outputs": {k: picked(t[k]) for k in ("video", "text")},
        }
    return kept


def clip_mapping(raw: Raw, tensors: Tensors) -> Raw:
    kept = {k: tensors[k].tolist() for k in ("tokens", "image_features", "text_features")}
    return {"seed": raw["seed"], "hf_keys": raw["hf_keys"], **kept}


GOLDENS: dict[str, Callable[[Raw, Tensors], Raw]] = {
    "evl_tiny": evl,
    "vifi_tiny": vifi,
    "xclip_tiny": xclip,
    "actionclip_tiny": actionclip,
    "a5_tiny": a5,
    "clip_mapping_tiny": clip_mapping,
}


def main(folder: Path) -> None:
    for name, reduce in GOLDENS.items():
        raw, tensors = json.loads((folder / f"{name}.json").read_text()), load_file(folder / f"{name}.safetensors")
        (HERE / f"{name}.json").write_text(json.dumps(reduce(raw, tensors)) + "\n")
    sampling = json.loads((folder / "sampling.json").read_text())
    names = ("vifi_xclip", "actionclip", "evl", "a5", "xclip_vifi_schedule", "actionclip_schedule", "label_smoothing")
    kept = {k: sampling[k] for k in names}
    (HERE / "sampling.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
