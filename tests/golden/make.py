"""Reduce the full golden outputs (a folder of NAME.json and NAME.safetensors) to the few numbers kept here.

python -m tests.golden.make FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from tests.golden.recipe import HERE, picked


def main(folder: Path) -> None:
    tensors = {
        name: load_file(folder / f"{name}.safetensors") for name in ("evl_tiny", "vifi_tiny", "clip_mapping_tiny")
    }
    raw = json.loads((folder / "evl_tiny.json").read_text())
    evl: dict[str, Any] = {"seed": raw["seed"], "config": raw["config"], "cases": {}}
    for name, case in raw["cases"].items():
        t = {
            k.removeprefix(f"cases/{name}/"): v
            for k, v in tensors["evl_tiny"].items()
            if k.startswith(f"cases/{name}/")
        }
        evl["cases"][name] = {
            "flags": case["flags"],
            "shapes": {k: s for k, s in case["state_dict_shapes"].items() if ".1." not in k and ".2." not in k},
            "logits": t["logits"].tolist(),
            "outputs": {k: picked(v) for k, v in t.items() if k != "logits"},
        }
    raw = json.loads((folder / "vifi_tiny.json").read_text())
    vifi: dict[str, Any] = {"seed": raw["seed"], "class_names": raw["class_names"], "cases": {}}
    for name in ("finetune", "zs_eval", "text_depth0"):
        t = {
            k.removeprefix(f"cases/{name}/"): v
            for k, v in tensors["vifi_tiny"].items()
            if k.startswith(f"cases/{name}/")
        }
        vifi["cases"][name] = {
            "trainable": raw["cases"][name]["trainable"] if name == "finetune" else [],
            "tokens": [[int(i) for i in row[row != 0]] for row in t["tokenized_prompts"]],
            "logits": t["logits"].tolist(),
            "outputs": {k: picked(t[k]) for k in ("frame_features", "text_features")},
        }
    t = tensors["clip_mapping_tiny"]
    raw = json.loads((folder / "clip_mapping_tiny.json").read_text())
    mapping = {
        "seed": raw["seed"],
        "hf_keys": raw["hf_keys"],
        "tokens": t["tokens"].tolist(),
        "image_features": t["image_features"].tolist(),
        "text_features": t["text_features"].tolist(),
    }
    for name, content in (("evl_tiny", evl), ("vifi_tiny", vifi), ("clip_mapping_tiny", mapping)):
        (HERE / f"{name}.json").write_text(json.dumps(content) + "\n")
    sampling = json.loads((folder / "sampling.json").read_text())
    kept = {
        k: sampling[k] for k in ("vifi_xclip", "evl", "xclip_vifi_schedule", "actionclip_schedule", "label_smoothing")
    }
    (HERE / "sampling.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
