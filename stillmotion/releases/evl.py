"""EVL's release: decoder and head of a frozen CLIP, which comes from elsewhere."""

from typing import Any

from stillmotion.errors import WeightsError
from stillmotion.methods.evl import EVL
from stillmotion.releases.base import MissingClip, Official, Release, State
from stillmotion.weights.names import count_parts, from_openai, translate

NAMES = (("decoder.", "temporal."), ("proj.", "head."))


def read(checkpoint: State, clip: State | None, **options: Any) -> Official:
    """Read decoder and head; sizes and temporal modules are inferred from the keys."""
    if clip is None:
        raise MissingClip("EVL checkpoints hold no backbone", "the CLIP weights it was trained on")
    ours = translate(checkpoint, NAMES) if "decoder.cls_token" in checkpoint else {}
    if "head.2.weight" not in ours:
        raise WeightsError("no 'decoder.cls_token' and 'proj.2.weight': this is not a checkpoint of EVL's release")
    layer = "temporal.decoder_layers.0."
    inner, width = ours[layer + "attn.q_proj.weight"].shape
    positions = ours.get("temporal.temporal_pos_embed.0")
    shown = {
        "layers": count_parts(ours, "temporal.decoder_layers."),
        "conv": "temporal.temporal_conv.0.weight" in ours,
        "positions": positions is not None,
        "cross_attention": "temporal.cross_attention.0.w1" in ours,
        "mlp_ratio": ours[layer + "mlp.fc1.weight"].shape[0] / width,
        "inner_width": inner,
    }
    if positions is not None:
        shown["num_frames"] = positions.shape[0]
    visual = {k: v for k, v in clip.items() if k.startswith("visual.")}
    trunk = {k: v for k, v in visual.items() if not k.startswith(("visual.ln_post", "visual.proj"))}
    method = EVL(**{"heads": inner // 64} | options | shown)
    return Official(method, visual, from_openai(trunk) | ours, num_classes=ours["head.2.weight"].shape[0])


def write(method: EVL, state: State) -> dict[str, Any]:
    """Write decoder and head, without the backbone."""
    kept = {k: v for k, v in state.items() if not k.startswith("visual.")}
    return {"model": {f"module.{k}": v for k, v in translate(kept, NAMES, back=True).items()}}


OPTIONS = {
    "num_frames": "frames of a view, where there are no frame positions; None: the release's 8, which is said",
    "taps": "blocks read, one per layer; None: the last ones",
    "heads": "attention heads of the decoder; None: one per 64 channels of theirs",
    "tokens": "which tokens the query reads; None: all",
}
RELEASE = Release(read, write, "evl_k400_b16_8f", OPTIONS)
