import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from stillmotion.data.transforms import CLIP_MEAN, IMAGENET_MEAN, Augment, MultiScaleCrop, Preprocess
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


def test_three_crops_lie_along_the_longer_side() -> None:
    x = torch.arange(64).expand(3, 32, 64)[None].to(torch.uint8)
    left, middle, right = Preprocess(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))(x, crops=3)[:, 0, 0, 0] * 255
    assert [round(float(c[0])) for c in (left, middle, right)] == [0, 16, 32]


def test_preprocess_survives_json() -> None:
    import json

    saved = Preprocess(size=(32, 48), mean=IMAGENET_MEAN, interpolation="bilinear")
    assert Preprocess.from_dict(json.loads(json.dumps(saved.to_dict()))) == saved


@pytest.mark.parametrize("recipe", ["none", "crop", "vificlip", "evl"])
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


def test_multi_scale_crop_takes_tsn_sizes_and_places() -> None:
    crop = MultiScaleCrop((224, 224))
    x = frames(256, 340, T=1)
    for seed in range(20):
        torch.manual_seed(seed)
        assert crop(x).shape == (1, 3, 224, 224)


def test_unknown_recipe() -> None:
    with pytest.raises(StillmotionError, match="choose none, crop, vificlip or evl"):
        Augment("strong", Preprocess())
