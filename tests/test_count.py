"""Counts made of shapes alone equal counts of real forwards; short cuts are counted as what they replace."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.count import Counts, count, saved_macs
from stillmotion.errors import StillmotionError
from stillmotion.methods import A5, EVL, METHODS, XCLIP, ActionCLIP, AttentiveProbe, ChangeProbe, Method, Step, ViFiCLIP
from stillmotion.methods.xclip import CrossFrameBlock
from stillmotion.models.features import last_out
from stillmotion.models.layers import attend
from tests.conftest import tiny_backbone, tiny_config
from tests.methods.test_attentive_probe import plain_logits as plain_attentive_probe
from tests.methods.test_evl import plain_decoder, tapped
from tests.methods.test_step import plain_logits as plain_step

NAMES = ["one", "two of them", "three"]


def measured(call: Callable[[], Any]) -> int:
    """MACs of a real forward. The processor's fused kernels, which float64 lacks but for two, are not counted."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() // 2


METHODS_AND_OPTIONS: list[Method] = [
    *(method() for method in METHODS.values()),
    EVL(num_frames=3, layers=2, cross_attention=False, heads=2),
    EVL(num_frames=5, layers=3, taps=(-1, 0, 1), conv=False, positions=False, inner_width=32),
    ActionCLIP(pool="LSTM"),
    ActionCLIP(pool="Transf_cls", shift=True),
    ActionCLIP(pool="Conv_1D", templates=("{}",)),
    ViFiCLIP(num_frames=2, tuned="prompts", vision_prompts=3, text_prompts=2, text_depth=1),
    AttentiveProbe(blocks=2),
    XCLIP(mit_layers=2, prompt_layers=1),
    A5(layers=0),
]


@pytest.mark.parametrize("method", METHODS_AND_OPTIONS, ids=lambda m: type(m).__name__)
def test_equals_a_real_forward(method: Method) -> None:
    config = tiny_backbone()
    if isinstance(method, EVL) and method.layers > 3:
        method = EVL(layers=3)
    if isinstance(method, ChangeProbe):
        method = ChangeProbe(blocks=3)
    model = method.build(config, NAMES).double().eval().requires_grad_(False)
    video, tokens, text = torch.randn(1, method.num_frames, 3, 32, 32, dtype=torch.float64), None, None
    length = None
    if model.text is not None:
        tokens = model.prompt(NAMES)
        length = int(tokens.argmax(dim=-1).max()) + 1
        text = model.encode_text(tokens)
    counts = count(method, config, len(NAMES), length)
    assert counts.video.macs == measured(lambda: model.classify(video, text))
    assert counts.visual.macs == measured(lambda: model.visual(video)) > 0
    assert counts.text.macs == (measured(lambda: model.encode_text(tokens)) if tokens is not None else 0)
    assert counts.text_tokens == (length or 0)
    assert counts.total.parameters == sum(p.numel() for p in model.parameters())
    assert (counts.text.parameters > 0) == (model.text is not None)


def plain_and_run(method: Method, plain: Callable[..., Any]) -> tuple[Counts, int]:
    """What is counted, and what the plain equations of a test cost on the same sizes."""
    config = tiny_backbone(text=False, image_size=(32, 40))
    model = method.build(config, NAMES).eval().requires_grad_(False)
    with torch.no_grad():
        video = torch.randn(1, method.num_frames, 3, 32, 40)
        read = tapped(model.temporal, model.visual, video) if isinstance(method, EVL) else last_out(model.visual(video))
    return count(method, config, len(NAMES)), measured(lambda: plain(model, read))


@pytest.mark.parametrize("cross_attention", [True, False])
def test_evl_as_written_is_its_plain_equations(cross_attention: bool) -> None:
    """The same equations that EVL's outputs are held against, counted."""
    method = EVL(num_frames=5, layers=3, heads=2, cross_attention=cross_attention)
    counts, plain = plain_and_run(method, lambda model, found: plain_decoder(model.temporal, found))
    bare, _ = plain_and_run(replace(method, cross_attention=False), lambda model, found: found)
    affinities = counts.visual.macs - bare.visual.macs  # the tower gives them, the equations here make them
    assert counts.temporal.plain_macs == plain - affinities != counts.temporal.macs
    assert (affinities > 0) == cross_attention


def test_probes_as_written_are_their_plain_equations() -> None:
    for method, logits in (
        (AttentiveProbe(num_frames=3, heads=2, blocks=2), plain_attentive_probe),
        (Step(num_frames=3, heads=2), plain_step),
    ):
        counts, plain = plain_and_run(method, logits)
        assert counts.temporal.plain_macs + counts.head.plain_macs == plain > counts.video.macs - counts.visual.macs


class PlainCrossFrameBlock(CrossFrameBlock):
    """The message token reads too, and what it read is dropped."""

    def forward(self, x_BTLD: Tensor, mask: Tensor | None = None) -> Tensor:
        message_BTD = self.message_fc(x_BTLD[:, :, 0])
        message_BTD = message_BTD + self.message_attn(self.message_ln(message_BTD))
        y_BTLD = torch.cat([x_BTLD, message_BTD.unsqueeze(2)], dim=2)
        y_BTLD = y_BTLD + self.attn.merge(attend(*self.attn.qkv(self.ln_1(y_BTLD))))
        x_BTLD = y_BTLD[:, :, :-1]
        return x_BTLD + self.mlp(self.ln_2(x_BTLD))


def test_x_clip_as_written_reads_the_message_too() -> None:
    block, plain = CrossFrameBlock(64, 2, 256), PlainCrossFrameBlock(64, 2, 256)
    plain.load_state_dict(block.state_dict())
    x_BTLD = torch.randn(2, 3, 5, 64)
    with torch.no_grad():
        assert (block(x_BTLD) - plain(x_BTLD)).abs().max() <= 1e-5
    for module in (block, plain):
        module.requires_grad_(False)
    assert saved_macs(block, (x_BTLD,)) == measured(lambda: plain(x_BTLD)) - measured(lambda: block(x_BTLD)) > 0


def test_trained_and_new_are_what_the_method_names() -> None:
    config = tiny_backbone()
    frozen, full = (count(XCLIP(train_text=flag), config, 3) for flag in (False, True))
    assert (frozen.text.trained, frozen.text.new) == (0, 0)
    assert full.total.trained == full.total.parameters > frozen.total.trained
    assert 0 < frozen.visual.new < frozen.visual.trained == frozen.visual.parameters
    assert frozen.head.new == frozen.head.parameters - 1  # the temperature is CLIP's
    evl = count(EVL(layers=2), config, 3)
    assert (evl.visual.trained, evl.visual.new) == (0, 0)
    assert evl.total.new == evl.total.trained == evl.temporal.parameters + evl.head.parameters


def test_text_is_counted_for_every_prompt_of_every_class() -> None:
    config = tiny_backbone()
    one, many = (count(ActionCLIP(templates=("{}",) * n), config, 4).text.macs for n in (1, 5))
    assert many == 5 * one
    assert count(ActionCLIP(templates=("{}",)), config, 8).text.macs == 2 * one
    short = count(ActionCLIP(templates=("{}",)), config, 4, text_tokens=10)
    assert short.text.macs < one / 7
    assert short.video == count(ActionCLIP(templates=("{}",)), config, 4).video


@pytest.mark.parametrize("options", [{"classes": 0}, {"text_tokens": 0}, {"text_tokens": 78}])
def test_numbers_that_make_no_sense(options: dict[str, int]) -> None:
    with pytest.raises(StillmotionError, match=r"(classes|text-tokens) is"):
        count(ViFiCLIP(), tiny_config(), **options)
