"""Recipes hold the releases' constants and what was published: written out here once more."""

import re
from dataclasses import astuple, replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.clip import describe
from stillmotion.backbones.clip_files import clip_weights
from stillmotion.backbones.config import CLIPConfig
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import CLIP_MEAN, IMAGENET_MEAN
from stillmotion.methods import EVL
from stillmotion.recipes import OWN_CLIPS, PUBLISHED, RECIPES, Maker
from stillmotion.recipes.published import Published, in_words
from stillmotion.training.objective import make_objective
from stillmotion.training.schedule import schedule
from stillmotion.training.tuning import param_groups, rules
from tests.conftest import select, tiny_backbone, tiny_config
from tests.golden.recipe import load
from tests.recipes.numbers import EXPECTED

GOLDEN = load("sampling")
NAMES = [recipe.__name__ for recipe in PUBLISHED]

EVL_BOTH = {
    "lr": 4e-4, "betas": (0.9, 0.999), "weight_decay": 0.05, "decay": "all", "schedule": "warmup_cosine", "warmup": 0,
    "batch_size": 256, "label_smoothing": 0.0, "mix": False, "statistics": "weights", "augment": "evl", "flip": 0.0,
    "resize": "bilinear", "short_side": None,
}  # fmt: skip
VIFI = {
    "lr": 8e-6, "betas": (0.9, 0.98), "weight_decay": 0.001, "decay": "all", "schedule": "overlaid_cosine", "warmup": 5,
    "batch_size": 256, "label_smoothing": 0.1, "mix": True, "statistics": "imagenet", "augment": "vificlip",
    "flip": 0.5, "scheme": "segments", "views": 1, "crops": 1, "num_frames": 32,
    "resize": "bilinear",
}  # fmt: skip
SUPERVISED = VIFI | {"epochs": 30, "views": 4, "crops": 3}
FEW = VIFI | {"lr": 2e-6, "batch_size": 64, "epochs": 50}
NOVEL = FEW | {"epochs": 11}
SPARED = {"decay": "matrices"}
ACTIONCLIP = {
    "lr": 5e-6, "betas": (0.9, 0.98), "weight_decay": 0.2, "decay": "all", "schedule": "warmup_cosine", "warmup": 5,
    "epochs": 50, "label_smoothing": 0.0, "mix": False, "statistics": "weights", "flip": 0.5, "views": 1, "crops": 1,
    "resize": "weights", "short_side": 256,
}  # fmt: skip
A5 = {
    "lr": 1e-4, "betas": (0.9, 0.999), "weight_decay": 0.01, "decay": "all", "schedule": "constant", "warmup": 0,
    "batch_size": 64, "label_smoothing": 0.0, "mix": False, "statistics": "bgr", "augment": "none", "flip": 0.0,
    "scheme": "random_stride", "views": 5, "num_frames": 16, "resize": "weights", "short_side": None,
}  # fmt: skip
CONSTANTS: dict[str, dict[str, Any]] = {
    "evl_k400_*_8f": EVL_BOTH | {"epochs": 53, "scheme": "dense", "stride": 16, "views": 3, "crops": 1},
    "evl_k400_*_16f": EVL_BOTH | {"epochs": 53, "scheme": "dense", "stride": 16, "views": 1, "crops": 3},
    "evl_k400_*_32f": EVL_BOTH | {"epochs": 53, "scheme": "dense", "stride": 8, "views": 1, "crops": 3},
    "evl_ssv2_b16_*": EVL_BOTH | {"epochs": 46, "scheme": "evl_segments", "views": 1, "crops": 3, "layers": 12},
    "evl_ssv2_l14_*": EVL_BOTH | {"epochs": 46, "scheme": "evl_segments", "views": 1, "crops": 3, "layers": 24},
    "vificlip_k400": SUPERVISED | {"lr": 2.2e-5, "batch_size": 512, "num_frames": 16, "tuned": "full"},
    "image_ft_k400": SUPERVISED | {"num_frames": 16, "tuned": "image"},
    "text_ft_k400": SUPERVISED | {"num_frames": 16, "tuned": "text"},
    "vificlip_zero_shot": VIFI | {"epochs": 10, "tuned": "full"},
    "image_ft_zero_shot": VIFI | {"epochs": 10, "tuned": "image"},
    "text_ft_zero_shot": VIFI | {"epochs": 10, "tuned": "text"},
    "vificlip_few_shot": FEW | {"tuned": "full"},
    "image_ft_few_shot": FEW | {"tuned": "image"},
    "text_ft_few_shot": FEW | {"tuned": "text"},
    "vificlip_base_to_novel": NOVEL | {"tuned": "full"},
    "image_ft_base_to_novel": NOVEL | {"tuned": "image"},
    "text_ft_base_to_novel": NOVEL | {"tuned": "text"},
    "vificlip_prompts_few_shot": FEW | {"lr": 8e-3, "tuned": "prompts", "vision_depth": 12, "text_depth": 12},
    "vificlip_prompts_base_to_novel": NOVEL | {"lr": 4e-2, "tuned": "prompts", "vision_depth": 9, "text_depth": 9},
    "xclip_k?00_*_8f": SUPERVISED | SPARED | {"num_frames": 8},
    "xclip_k?00_*_16f": SUPERVISED | SPARED | {"num_frames": 16},
    "xclip_zero_shot": VIFI | SPARED | {"epochs": 10},
    "xclip_few_shot": FEW | SPARED,
    "xclip_base_to_novel": NOVEL | SPARED,
    "actionclip_k400_*": ACTIONCLIP | {"batch_size": 128, "scheme": "actionclip", "augment": "actionclip"},
    "actionclip_ucf101": ACTIONCLIP | {"batch_size": 32, "scheme": "actionclip_middle", "num_frames": 32},
    "actionclip_hmdb51": ACTIONCLIP | {"batch_size": 64, "scheme": "actionclip_middle", "num_frames": 32},
    "a0_k400": A5 | {"prefix": 2, "postfix": 2, "layers": 0},
    "a1_k400": A5 | {"prefix": 4, "postfix": 4, "layers": 0},
    "a2_k400": A5 | {"prefix": 8, "postfix": 8, "layers": 0},
    "a3_k400": A5 | {"prefix": 16, "postfix": 16, "layers": 0},
    "a4_k400": A5 | {"prefix": 16, "postfix": 16, "layers": 1},
    "a5_k400": A5 | {"prefix": 16, "postfix": 16, "layers": 2},
    "a6_k400": A5 | {"prefix": 16, "postfix": 16, "layers": 3},
    "a7_k400": A5 | {"prefix": 16, "postfix": 16, "layers": 4},
    "a5_hmdb51": A5 | {"prefix": 16, "postfix": 16, "layers": 1, "epochs": 20},
}
# What the papers count, or what was counted in the official code: parameters that train, with 400 or 174 classes.
TRAINED = {
    "evl_k400_b16_8f": 33_183_000, "evl_k400_b16_32f": 33_257_000, "evl_k400_l14_8f": 58_730_000,
    "evl_ssv2_b16_8f": 98_760_000, "evl_ssv2_l14_8f": 350_100_000, "evl_ssv2_l14_336_32f": 412_000_000,
    "vificlip_k400": 124_323_841, "image_ft_k400": 86_192_640, "text_ft_k400": 38_131_200,
    "vificlip_prompts_few_shot": 153_600, "vificlip_prompts_base_to_novel": 184_320,
    "xclip_k400_b16_8f": 131_501_056, "xclip_few_shot": 131_501_056 + 24 * 512,
    "actionclip_k400_b16_8f": 149_620_737 + 18_953_728, "a5_k400": 6_352_384, "a6_k400": 9_504_768,
}  # fmt: skip


def constant(name: str, field: str) -> Any:
    """A constant of a recipe, wherever it is kept."""
    run = RECIPES[name]()
    return next(getattr(part, field) for part in (run, run.train, run.sampling, run.method) if hasattr(part, field))


def clip_of(name: str) -> Backbone:
    return describe(CLIPConfig.published(RECIPES[name]().backbone.removesuffix(":openai")))


def tiny(name: str) -> Any:
    """A recipe's method, no deeper than a tiny CLIP."""
    method = RECIPES[name]().method
    return replace(method, layers=2) if isinstance(method, EVL) else method


def test_a_recipe_has_one_name() -> None:
    assert len(RECIPES) == len(OWN_CLIPS) + len(PUBLISHED)
    assert all(RECIPES[name].__name__ == name for name in RECIPES)


@pytest.mark.parametrize("recipe", OWN_CLIPS)
def test_a_recipe_for_own_clips_says_how_to_run_it(recipe: Maker) -> None:
    assert f"{recipe.__name__} --data my_videos" in (recipe.__doc__ or "")


def test_published_numbers_are_those_of_the_papers() -> None:
    """Every one, with its setting and where it stands; and no recipe says it in prose again."""
    found = {name: [astuple(number) for number in RECIPES[name]().published] for name in RECIPES}
    assert {name: numbers for name, numbers in found.items() if numbers} == EXPECTED
    assert {recipe.__name__ for recipe in PUBLISHED} == set(EXPECTED) - {"zero_shot"}
    assert not [name for name in RECIPES if re.search(r"\d\d\.\d", (RECIPES[name].__doc__ or "").splitlines()[0])]


def test_numbers_in_words() -> None:
    numbers = [
        Published("A", "top-1", 1.0, "K=2", "t"), Published("A", "top-1", 2.5, "K=4", "t"),
        Published("B", "base", 3.0, "", "t"), Published("B", "HM", 4.0, "", "t"), Published("A", "top-5", 9.0, "", "u"),
    ]  # fmt: skip
    assert in_words(numbers) == ["t: A 1.0, 2.5 top-1 (K=2, K=4); B 3.0 base, 4.0 HM", "u: A 9.0 top-5"]


@pytest.mark.parametrize("name", NAMES)
def test_constants_are_those_of_the_release(name: str) -> None:
    (expected,) = [content for pattern, content in CONSTANTS.items() if fnmatchcase(name, pattern)]
    assert {field: constant(name, field) for field in expected} == expected
    model = re.search(r"_(b32|b16|l14_336|l14)_", name)
    sizes = {"b32": "ViT-B-32", "b16": "ViT-B-16", "l14": "ViT-L-14", "l14_336": "ViT-L-14-336"}
    assert RECIPES[name]().backbone == f"{sizes[model[1]] if model else 'ViT-B-16'}:openai"
    if constant(name, "statistics") == "imagenet":
        assert constant(name, "short_side") == (384 if "336" in name else 256)
    frames = re.search(r"_(\d+)f$", name)
    assert frames is None or RECIPES[name]().method.num_frames == int(frames[1])


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_builds_and_trains_what_its_paper_counts(name: str) -> None:
    run = RECIPES[name]()
    with torch.device("meta"):
        model = run.method.build(clip_of(name), [""] * (174 if "ssv2" in name else 400))
    rules = select(model, run.method.tune())
    trained = sum(p.numel() for k, p in model.named_parameters() if k in rules)
    assert trained > 0
    if name in TRAINED:
        assert trained == pytest.approx(TRAINED[name], rel=1e-3 if name.startswith("evl") else 0)
    make_objective(run.method.objective, [9] * 400, run.train)  # refuses smoothing and mixing where they have no place


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("evl_k400_b16_8f", {(1, 0.05)}),
        ("vificlip_k400", {(1, 0.001)}),
        ("vificlip_prompts_few_shot", {(1, 0.001)}),
        ("xclip_k400_b16_8f", {(1, 0.001), (1, 0), (10, 0.001), (10, 0)}),
        ("actionclip_k400_b16_8f", {(1, 0.2), (10, 0.2)}),
        ("a5_k400", {(1, 0.01)}),
    ],
)
def test_rates_and_decay_of_the_groups(name: str, expected: set[tuple[float, float]]) -> None:
    run, method = RECIPES[name](), tiny(name)
    model = method.build(tiny_backbone(), ["a", "b"])
    groups = param_groups(model, rules(model, method.tune()), run.train.weight_decay, run.train.decay)
    assert {(g["lr_scale"], g["weight_decay"]) for g in groups} == expected
    names = {id(p): k for k, p in model.named_parameters()}
    fast = {names[id(p)] for g in groups if g["lr_scale"] == 10 for p in g["params"]}
    new = {k for k in names.values() if any(fnmatchcase(k, pattern) for pattern in method.new_parameters())}
    assert fast == (new if 10 in {scale for scale, _ in expected} else set())
    spared = {names[id(p)] for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    if spared:
        assert spared == {
            names[id(p)]
            for g in groups
            for p in g["params"]
            if p.ndim < 2 or names[id(p)].endswith("positional_embedding")
        }


@pytest.mark.golden
@pytest.mark.parametrize("name", NAMES)
def test_rates_follow_the_releases_curves(name: str) -> None:
    train = RECIPES[name]().train
    if train.schedule == "overlaid_cosine":
        golden = GOLDEN["xclip_vifi_schedule"]  # 10 epochs of 10 steps at 8e-6
        curve = schedule(train.schedule, train.lr, 100, round(10 * train.warmup))
        for step, rates in zip(golden["at"], golden["lrs"]):
            for factor, expected in zip((1, 10), rates):
                assert curve(factor, step) == pytest.approx(expected * train.lr / 8e-6, rel=1e-12, abs=1e-20)
    elif train.warmup:
        curve = schedule(train.schedule, train.lr, 1000 * train.epochs, round(1000 * train.warmup))
        for epoch, expected in GOLDEN["actionclip_schedule"]["lr"].items():
            assert curve(1, round(1000 * float(epoch))) == pytest.approx(expected, rel=1e-9)
    elif train.schedule == "warmup_cosine":
        curve = schedule(train.schedule, train.lr, 50_000, 0)
        assert [curve(1, step) for step in (0, 25_000, 50_000)] == pytest.approx([4e-4, 2e-4, 0])
    else:
        assert {schedule(train.schedule, train.lr, 1100, 0)(1, step) for step in (0, 550, 1099)} == {1e-4}


@pytest.mark.parametrize(
    ("name", "mean", "bgr"),
    [("vificlip_k400", IMAGENET_MEAN, False), ("evl_k400_b16_8f", CLIP_MEAN, False), ("a5_k400", CLIP_MEAN, True)],
)
def test_pixel_statistics(name: str, mean: tuple[float, float, float], bgr: bool) -> None:
    weights = clip_weights("", tiny_config(), {})
    preprocess = RECIPES[name]().preprocess(weights.backbone.pixels)
    assert (preprocess.mean, preprocess.bgr) == (mean, bgr)


def test_the_second_stage_says_where_it_starts() -> None:
    for name in ("vificlip_prompts_few_shot", "vificlip_prompts_base_to_novel"):
        assert f"stillmotion train {name} --data ucf.txt --start-from STAGE1/model.safetensors" in RECIPES[name].__doc__


def test_own_clips_take_the_weights_statistics_and_mirror_nothing() -> None:
    for recipe in OWN_CLIPS:
        run = recipe()
        assert (run.statistics, run.flip, run.train.mix) == ("weights", 0.0, False)
        assert run.sampling in (Sampling(), Sampling(scheme="actionclip"))
