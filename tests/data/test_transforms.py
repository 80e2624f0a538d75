from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from stillmotion.checkpoint import of_plain_values
from stillmotion.data.transforms import CLIP_MEAN, IMAGENET_MEAN, PLACES, Augment, MultiScaleCrop, Preprocess
from stillmotion.errors import StillmotionError


def frames(h: int = 48, w: int = 70, T: int = 4) -> torch.Tensor:
    """Smooth frames that lie channels-last, as a video's do."""
    rng = np.random.RandomState(0)
    images = [Image.fromarray(rng.randint(0, 256, (6, 8, 3)).astype(np.uint8)).resize((w, h)) for _ in range(T)]
    return torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(200, 300), (300, 200), (224, 224), (223, 500), (1, 20), (720, 1280)])
def test_resize_covers_the_crop_and_keeps_the_shape(size: tuple[int, int]) -> None:
    out = Preprocess().resize(torch.zeros(1, 3, *size, dtype=torch.uint8))
    h, w = out.shape[-2:]
    assert min(h, w) == 224
    assert abs(w / h - size[1] / size[0]) <= size[1] / size[0] * 0.01 + 0.01


def test_channels_last_and_channels_first_give_the_same_pixels() -> None:
    x = frames()
    assert torch.equal(Preprocess(size=(32, 32))(x), Preprocess(size=(32, 32))(x.contiguous()))


def test_resize_is_antialiased_bicubic() -> None:
    x = frames(96, 96)
    exact = F.interpolate(x.double(), (32, 32), mode="bicubic", antialias=True).clamp(0, 255)
    assert (Preprocess(size=(32, 32)).resize(x).double() - exact).abs().max() <= 1.5


def test_normalization() -> None:
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    out = Preprocess(size=(32, 32))(white)
    assert out.shape == (1, 1, 3, 32, 32)
    assert out[0, 0, :, 0, 0].tolist() == pytest.approx([(1 - m) / s for m, s in zip(CLIP_MEAN, Preprocess().std)])


def test_bgr_takes_the_same_statistics_to_reversed_channels() -> None:
    """Blue meets the mean of red: so A5's features were computed."""
    red = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    red[:, 0] = 255
    out = Preprocess(size=(32, 32), bgr=True)(red)[0, 0, :, 0, 0].tolist()
    std = Preprocess().std
    assert out == pytest.approx([-CLIP_MEAN[0] / std[0], -CLIP_MEAN[1] / std[1], (1 - CLIP_MEAN[2]) / std[2]])
    view = Augment("none", Preprocess(size=(32, 32), bgr=True))(red, 0)
    assert view[0, :, 0, 0].tolist() == out


def test_cards_from_before_bgr_load() -> None:
    saved = asdict(Preprocess(size=(32, 48)))
    assert saved.pop("bgr") is False
    assert of_plain_values(Preprocess, saved) == Preprocess(size=(32, 48))


def test_three_crops_lie_along_the_longer_side() -> None:
    x = torch.arange(64).expand(3, 32, 64)[None].to(torch.uint8)
    left, middle, right = Preprocess(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))(x, crops=3)[:, 0, 0, 0] * 255
    assert [round(float(c[0])) for c in (left, middle, right)] == [0, 16, 32]


def test_preprocess_survives_json() -> None:
    import json

    saved = Preprocess(size=(32, 48), mean=IMAGENET_MEAN, interpolation="bilinear")
    assert of_plain_values(Preprocess, json.loads(json.dumps(asdict(saved)))) == saved


@pytest.mark.parametrize("recipe", ["none", "crop", "vificlip", "evl", "actionclip"])
@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_one_draw_for_all_frames_and_equal_seeds(recipe: str, flip: float) -> None:
    augment = Augment(recipe, Preprocess(size=(32, 32)), flip)
    still = frames(T=1).expand(4, -1, -1, -1)
    views = [augment(still, seed) for seed in range(12)]
    for view in views:
        assert view.shape == (4, 3, 32, 32)
        assert torch.isfinite(view).all()
        assert all(torch.equal(view[0], frame) for frame in view), "frames of one clip were drawn apart"
    assert torch.equal(views[3], augment(still, 3))
    different = any(not torch.equal(views[0], view) for view in views)
    assert different is (recipe != "none" or flip > 0)


def test_augmentation_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Augment("vificlip", Preprocess(size=(32, 32)), 0.5)(frames(), 1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("places", "expected"), [(5, 5), (13, 13)])
def test_multi_scale_crop_takes_tsn_sizes_and_places(
    places: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame whose pixels are their own place tells where a crop without a change of size was."""
    crop = MultiScaleCrop((224, 224), places)
    found: set[tuple[int, int, int, int]] = set()

    def record(frames: torch.Tensor, size: list[int], **_: object) -> torch.Tensor:
        if frames.shape[-1] != 340 and len(size) == 2:
            corner = frames[0, :, 0, 0].tolist()
            found.add((round(corner[0]), round(corner[1]), *frames.shape[-2:]))
            return torch.zeros(1, 3, *size)
        return frames

    monkeypatch.setattr("stillmotion.data.transforms.tvf.resize", record)
    rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(340.0), indexing="ij")
    x = torch.stack([rows, columns, rows])[None]
    for seed in range(800):
        torch.manual_seed(seed)
        assert crop(x).shape == (1, 3, 224, 224)
    sides = {(h, w) for _, _, h, w in found}
    assert {h for h, _ in sides} == {256, 224, 192, 168}
    assert len(sides) == 10, "four sizes a side, neighbors at most"
    assert {(y, x) for y, x, h, w in found if (h, w) == (192, 192)} == {
        (down * 64 // 4, right * 148 // 4) for down, right in PLACES[:expected]
    }


def test_a_short_side_leaves_room_around_a_single_crop() -> None:
    """ViFi-CLIP: short side 256 and the middle 224 for one view, short side 224 for three crops."""
    frames = torch.randint(0, 256, (1, 3, 120, 160), dtype=torch.uint8)
    roomy = Preprocess(size=(56, 56), short_side=64)
    assert roomy.resize(frames, 64).shape[-2:] == (64, 85)
    crop = roomy(frames)[0]
    assert torch.equal(crop, roomy.normalize(roomy.resize(frames, 64)[..., 4:60, 14:70]))
    assert torch.equal(roomy(frames, crops=3), Preprocess(size=(56, 56))(frames, crops=3))
    assert Preprocess(short_side=256).resize(torch.zeros(1, 3, 256, 340, dtype=torch.uint8), 256).shape[-2:] == (
        256,
        340,
    )


def test_a_mirrored_training_view_is_otherwise_the_test_view() -> None:
    frames = torch.randint(0, 256, (2, 3, 120, 160), dtype=torch.uint8)
    roomy = Preprocess(size=(56, 56), short_side=64)
    assert torch.equal(Augment("none", roomy, flip=1.0)(frames, 0), roomy(frames)[0].flip(-1))


@pytest.mark.parametrize(
    ("size", "expected"), [((440, 220), (512, 256)), ((144, 180), (256, 320)), ((1, 1), (256, 256))]
)
def test_sizes_are_whole_numbers(size: tuple[int, int], expected: tuple[int, int]) -> None:
    frames = torch.zeros(1, 3, *size, dtype=torch.uint8)
    assert Preprocess(short_side=256).resize(frames, 256).shape[-2:] == expected


def test_without_antialiasing_pixels_are_those_of_plain_interpolation() -> None:
    frames = torch.randint(0, 256, (2, 3, 90, 120), dtype=torch.uint8)
    plain = Preprocess(size=(48, 48), interpolation="bilinear", antialias=False)
    expected = torch.nn.functional.interpolate(frames.float(), (48, 64), mode="bilinear", align_corners=False)
    assert (plain.resize(frames).float() - expected).abs().max() <= 1  # uint8 arithmetic
    assert (Preprocess(size=(48, 48), interpolation="bilinear").resize(frames).float() - expected).abs().max() > 2


def test_unknown_recipe() -> None:
    with pytest.raises(StillmotionError, match="choose none, crop, vificlip, evl or actionclip"):
        Augment("strong", Preprocess())
