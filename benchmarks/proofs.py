"""The tests that hold outputs against something that is not this code: the last table of docs/parity.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Proof:
    """A test that holds a method's outputs against something that is not this code."""

    method: str
    against: str
    file: str
    test: str
    tolerance: str
    what: str


RELEASE = "test_equals_the_release"
PROOFS = (
    Proof("towers", "open_clip", "backbones/test_open_clip_parity.py", "test_equal_to_open_clip", "1e-5",
          "frame and class embeddings, every kind of ViT that it publishes"),
    Proof("zero_shot", "ViFi-CLIP's release", "methods/test_vificlip.py", "test_vanilla_clip_equals_the_release",
          "1e-5", "token ids, frame and class embeddings, logits"),
    Proof("vificlip", "its release", "methods/test_vificlip.py", RELEASE, "1e-5",
          "token ids, frame and class embeddings, logits"),
    Proof("vificlip, prompts", "its release", "methods/test_vificlip.py", "test_prompts_equal_the_release", "1e-5",
          "the same, three settings"),
    Proof("evl", "its release", "methods/test_evl.py", RELEASE, "1e-5",
          "taps with their queries and keys, motion, the query after every layer, logits"),
    Proof("evl", "its equations", "methods/test_evl.py", "test_fast_forms_equal_the_plain_equations_in_float64",
          "1e-12", "embedding, and gradients of every parameter"),
    Proof("xclip", "its release", "methods/test_xclip.py", RELEASE, "1e-5",
          "frame, patch, video and class embeddings, video-specific prompts, logits"),
    Proof("xclip", "Hugging Face", "methods/test_xclip.py", "test_equals_hugging_face_in_both_directions", "1e-4",
          "logits, and every tensor on the way back"),
    Proof("actionclip", "its release", "methods/test_actionclip.py", RELEASE, "1e-5",
          "token ids, embeddings and probabilities of every temporal head"),
    Proof("actionclip", "its release", "methods/test_actionclip.py", "test_the_loss_equals_the_release", "1e-5",
          "targets and the contrastive loss"),
    Proof("a5", "its release", "methods/test_a5.py", RELEASE, "1e-5",
          "token ids, video and class embeddings, logits, from frame embeddings"),
    Proof("attentive_probe", "its equations", "methods/test_attentive_probe.py",
          "test_equals_the_plain_equations_in_float64", "1e-10", "embedding, and gradients of every parameter"),
    Proof("step", "full self-attention", "methods/test_step.py", "test_equals_full_self_attention_in_float64", "1e-10",
          "embedding, and gradients of every parameter"),
    Proof("change_probe", "its definition", "methods/test_change_probe.py", "test_change_frame_by_frame", "1e-5",
          "the 2 R D numbers of a block, frame by frame"),
    Proof("linear_probe", "its definition", "methods/test_vificlip.py", "test_the_probe_is_blind_to_order", "1e-6",
          "logits of a clip and of its reverse; tower as above"),
)  # fmt: skip


def proof_line(proof: Proof) -> list[str]:
    """A line of the proofs."""
    return [f"`{proof.method}`", proof.against, proof.what, f"`tests/{proof.file}::{proof.test}`", proof.tolerance]
