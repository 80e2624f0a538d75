"""ActionCLIP's release, of two state dicts, and mmaction2's port of it, of one."""

import re
from typing import Any

import torch

from stillmotion.errors import WeightsError
from stillmotion.methods.actionclip import MAX_FRAMES, ActionCLIP, Pool
from stillmotion.releases.base import Official, Release, State
from stillmotion.weights.names import OPENAI, count_parts, translate


def read(checkpoint: State, clip: State | None, **options: Any) -> Official:
    """Read the release's tensors (`fusion.` before the names of its second state dict), or mmaction2's."""
    state = dict(checkpoint)
    if any(key.startswith("adapter.") for key in state):  # mmaction2's port
        options = {"eps": 1e-5} | options
        state = {k.removeprefix("clip.").replace("adapter.", "fusion.", 1): v for k, v in state.items()}
    fusion = {k.removeprefix("fusion.").removeprefix("module."): v for k, v in state.items() if "fusion." in k}
    state = {k: v for k, v in state.items() if "fusion." not in k}
    options = {"shift": any(".net." in k for k in state)} | options
    state = {k.replace(".net.", "."): v for k, v in state.items()}
    table = fusion.pop("frame_position_embeddings.weight", None)
    shown: dict[str, Any] = {"pool": _pool_of(fusion)}
    if shown["pool"] == "Transf":
        if table is None:
            raise WeightsError("no 'frame_position_embeddings.weight' beside the transformer of this checkpoint")
        fusion["frame_position_embeddings.weight"] = table
        shown |= {"positions": table.shape[0], "layers": count_parts(fusion, "transformer.resblocks.")}
        if table.shape[0] < MAX_FRAMES:  # mmaction2's table has a row for each frame
            shown["num_frames"] = table.shape[0]
    if shown["pool"] == "Transf_cls":
        shown["num_frames"] = fusion["transformer.pos_embed"].shape[1] - 1
        shown["layers"] = count_parts(fusion, "transformer.transformer_enc.layers.")
    ours = translate(state, OPENAI) | {f"temporal.{k}": v for k, v in fusion.items()}
    return Official(ActionCLIP(**options | shown), state, ours)


def write(method: ActionCLIP, state: State) -> dict[str, Any]:
    """Write the release's two state dicts."""
    fusion = {k[9:]: v for k, v in state.items() if k.startswith("temporal.")}
    clip = translate({k: v for k, v in state.items() if not k.startswith("temporal.")}, OPENAI, back=True)
    if method.shift:
        clip = {re.sub(r"^(visual\.transformer\.resblocks\.\d+)", r"\1.net", k): v for k, v in clip.items()}
    if fusion and method.pool != "Transf":  # every head of the release has this table, and only `Transf` reads it
        fusion["frame_position_embeddings.weight"] = torch.zeros(MAX_FRAMES, clip["text_projection"].shape[1])
    return {"model_state_dict": clip, "fusion_model_state_dict": {f"module.{k}": v for k, v in fusion.items()}}


def _pool_of(fusion: State) -> Pool:
    if "lstm_visual.weight_ih_l0" in fusion:
        return "LSTM"
    if "shift.weight" in fusion:
        return "Conv_1D"
    if "transformer.cls_token" in fusion:
        return "Transf_cls"
    return "Transf" if any(k.startswith("transformer.resblocks.") for k in fusion) else "meanP"


OPTIONS = {
    "num_frames": "frames of a view; None: the release's 8, which is said",
    "shift": "shift channels between frames (TSM); None: as the names of the tensors say",
    "faithful": "scramble the axes of Conv_1D as the release does; None: yes",
    "test_scale": "scale of the cosine at test; None: 100, as the release's",
    "templates": "prompts for a class name, each with a {}; None: the release's 16",
}
RELEASE = Release(read, write, "actionclip_k400_b16_8f", OPTIONS, beside={"fusion_model_state_dict": "fusion."})
