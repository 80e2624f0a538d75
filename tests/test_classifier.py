"""One file in, one label out; open vocabularies; what does not fit is refused by name."""

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import stillmotion
from stillmotion.checkpoint import load_model, read_card
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError, WeightsError
from stillmotion.experiment import fit
from stillmotion.methods import EVL, LinearProbe, Method, ViFiCLIP
from stillmotion.open_vocabulary import from_backbone
from stillmotion.recipes.base import Place, Recipe
from stillmotion.training.config import Train
from tests.videos import write_video

METHODS: dict[str, Method] = {
    "evl": EVL(num_frames=4, layers=2),
    "linear_probe": LinearProbe(num_frames=4),
    "vificlip": ViFiCLIP(num_frames=4),
    "vificlip_image": ViFiCLIP(num_frames=4, tuned="image"),
}


@pytest.fixture(scope="module")
def trained(folder_of_videos: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model of every method."""
    root = tmp_path_factory.mktemp("trained")
    train = Train(lr=1e-3, epochs=1, batch_size=4, device="cpu", workers=0)
    for name, method in METHODS.items():
        recipe = Recipe(method=method, train=train, backbone=str(tiny_clip))
        fit(recipe, Data(data=folder_of_videos), Place(out=root / name, cache=root / "cache"))
    return {name: root / name / "model.safetensors" for name in METHODS}


@pytest.mark.parametrize("name", METHODS)
def test_a_loaded_model_predicts_what_it_predicted(trained: dict[str, Path], name: str) -> None:
    classifier = stillmotion.load(trained[name], device="cpu")
    assert classifier.classes == ("left", "right")
    assert isinstance(classifier.model, stillmotion.VideoCLIP)
    lines = [json.loads(line) for line in (trained[name].parent / "predictions.jsonl").read_text().splitlines()]
    for line in lines:
        prediction = classifier(line["path"])
        assert isinstance(prediction, stillmotion.Prediction)
        assert prediction.scores.keys() == {"left", "right"}
        assert prediction.label == max(prediction.scores, key=prediction.scores.__getitem__)
        assert prediction.score == prediction.scores[prediction.label] == prediction.top(1)[0][1]
        # Cached features are float16, live ones are not.
        assert prediction.scores["left"] == pytest.approx(line["probabilities"][0], abs=5e-3)


def test_towers_that_were_not_trained_are_not_stored(trained: dict[str, Path]) -> None:
    towers = {n: {k.split(".")[0] for k in load_file(p)} for n, p in trained.items()}
    assert towers == {
        "evl": {"temporal", "head"},
        "linear_probe": {"head"},
        "vificlip": {"visual", "text", "head"},
        "vificlip_image": {"visual", "head"},
    }
    assert read_card(trained["evl"]).fingerprints.keys() == {"visual."}
    assert read_card(trained["vificlip"]).fingerprints == {}
    assert read_card(trained["vificlip_image"]).fingerprints.keys() == {"text."}


def test_the_card_says_everything(trained: dict[str, Path], tiny_clip: Path) -> None:
    card = read_card(trained["evl"])
    assert card.method == METHODS["evl"]
    assert card.backbone_name == str(tiny_clip)
    assert card.preprocess.size == (32, 32)
    assert card.training["run"]["recipe"]["train"]["seed"] == 0
    assert card.training["videos"] == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training", "@deep@"),
        ("preprocess", {"size": [32, 32], "short_side": []}),
        ("classes", ["left", ["right"]]),
        ("format", "x" * 10**5),
        ("method", "x" * 10**5),
        ("backbone", {"kind": "x" * 10**5, "sizes": {}, "pixels": {}}),
    ],
)
def test_a_damaged_card_is_one_short_line(trained: dict[str, Path], tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "m.safetensors"
    with safe_open(trained["evl"], "pt") as file:
        card = json.loads(file.metadata()["stillmotion"])
    text = json.dumps(card | {key: value}).replace('"@deep@"', "[" * 10**5 + "]" * 10**5)
    save_file(load_file(trained["evl"]), path, metadata={"stillmotion": text})
    with pytest.raises(WeightsError) as error:
        read_card(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


def test_other_backbones_are_refused(trained: dict[str, Path], tiny_clip: Path, tmp_path: Path) -> None:
    state = load_file(tiny_clip)
    state["visual.proj"] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(
        WeightsError, match=r"is not the backbone this model was trained on .*: its visual tower has hash"
    ):
        stillmotion.load(trained["evl"], backbone=str(tmp_path / "other.safetensors"))
    moved = tmp_path / "moved.safetensors"
    save_file(load_file(tiny_clip), moved)
    assert stillmotion.load(trained["evl"], backbone=str(moved)).classes == ("left", "right")


def test_open_vocabulary(trained: dict[str, Path], video: Path) -> None:
    classifier = stillmotion.load(trained["vificlip"], device="cpu")
    classifier.classes = ["a goal", "a foul", "a throw-in"]
    assert classifier(video).scores.keys() == {"a goal", "a foul", "a throw-in"}
    tokens = classifier.model.prompt(classifier.classes)
    with torch.no_grad():
        assert torch.allclose(classifier.text, classifier.model.encode_text(tokens))
    for names, message in (([], "give at least one name"), (["a", "a"], "'a' is given twice")):
        with pytest.raises(StillmotionError, match=message):
            classifier.classes = names
    with pytest.raises(StillmotionError, match=r"trained for its 2 classes only"):
        stillmotion.load(trained["evl"]).classes = ["x"]


def test_reading_and_scoring_are_two_steps(trained: dict[str, Path], video: Path) -> None:
    classifier = stillmotion.load(trained["vificlip"], device="cpu")
    views = classifier.read(video)
    assert views.shape == (1, 4, 3, 32, 32)
    assert classifier.score(views).tolist() == list(map(classifier(video).scores.__getitem__, classifier.classes))
    other = classifier.encode(["a goal", "a foul", "a throw-in"])
    assert classifier.score(views, other).shape == (3,)
    assert classifier.classes == ("left", "right"), "the words of one call are those of that call"
    assert repr(classifier) == "<Classifier: VideoCLIP, 2 classes, 4 frames of 32x32, cpu>"


def test_clean_names_are_for_prompts_alone(trained: dict[str, Path]) -> None:
    classifier = stillmotion.load(trained["vificlip"], device="cpu")
    names = ("ApplyEyeMakeup", "YoYo")
    raw, clean = (classifier.with_classes(names, clean=c) for c in (False, True))
    assert classifier.classes == ("left", "right") and raw.classes == clean.classes == names
    words = classifier.encode(["apply eye makeup", "yo yo"])
    assert torch.equal(clean.text, words.text) and not torch.equal(clean.text, raw.text)
    assert clean.model is classifier.model
    with pytest.raises(StillmotionError, match="trained for its 2 classes only"):
        stillmotion.load(trained["evl"], device="cpu").with_classes(names, clean=True)


def test_classes_may_be_assigned_while_other_threads_predict(trained: dict[str, Path], video: Path) -> None:
    """Labels and probabilities of one call are of one list, the old or the new."""
    classifier = stillmotion.load(trained["vificlip"], device="cpu")
    lists = [["a goal", "a foul", "a throw-in"], ["surfing", "a dog"], ["x", "y", "z", "w", "v"]]
    expected = {tuple(classes): classifier.with_classes(classes)(video).scores for classes in lists}
    done, wrong = threading.Event(), []

    def assign() -> None:
        for i in itertools.count():
            if done.is_set():
                return
            classifier.classes = lists[i % 3]

    thread = threading.Thread(target=assign)
    classifier.classes = lists[0]
    thread.start()
    try:
        for _ in range(60):
            scores = classifier(video).scores
            if not any(scores == pytest.approx(e) for e in expected.values()):
                wrong.append(scores)
    finally:
        done.set()
        thread.join()
    assert not wrong


def test_scores_that_are_no_numbers_are_refused(trained: dict[str, Path], video: Path) -> None:
    classifier = stillmotion.load(trained["linear_probe"], device="cpu")
    torch.nn.init.constant_(classifier.model.head[-1].weight, float("inf"))
    with pytest.raises(
        StillmotionError, match=r"the scores of .*moving\.mp4 are not finite.*; load other weights"
    ) as error:
        classifier(video)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_is_forked_after_a_prediction_predicts(trained: dict[str, Path], video: Path) -> None:
    """As a server does that loads the model first (gunicorn --preload): OpenMP's threads are not in the child."""
    code = f"""
import os, torch, stillmotion
torch.set_num_threads(2)
classifier = stillmotion.load({str(trained["vificlip"])!r}, device="cpu")
big = torch.randn(64, 3, 224, 224)
first, before = classifier({str(video)!r}).scores, big.exp().sum()
child = os.fork()
if not child:
    assert big.exp().sum().isclose(before) and classifier({str(video)!r}).label == max(first, key=first.get)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert torch.get_num_threads() == 2
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=90, env=environment)


def test_clip_by_names_and_by_features(tiny_clip: Path, tiny_image_tower: Path, video: Path, tmp_path: Path) -> None:
    names = ["ApplyEyeMakeup", "YoYo"]
    by_name = from_backbone("zero_shot", names, backbone=str(tiny_clip), device="cpu")
    np.save(tmp_path / "text.npy", by_name.text.numpy())
    by_file = from_backbone(
        "zero_shot", names, backbone=str(tiny_image_tower), text_features=tmp_path / "text.npy", device="cpu"
    )
    by_file.model.head.logit_scale.data.fill_(2.0)  # an image tower alone has no temperature of its own
    a, b = by_name(video), by_file(video)
    assert a.label == b.label
    assert a.score == pytest.approx(b.score, abs=1e-4)
    clean = from_backbone("zero_shot", names, backbone=str(tiny_clip), clean_names=True, device="cpu")
    assert clean.classes == tuple(names), "the raw form is kept"
    assert not torch.allclose(clean.text, by_name.text)


def test_what_an_image_tower_cannot_do(tiny_image_tower: Path, tmp_path: Path) -> None:
    with pytest.raises(StillmotionError, match=r"no text tower, .*--text-features.*--backbone"):
        from_backbone("vificlip", ["a", "b"], backbone=str(tiny_image_tower))
    with pytest.raises(StillmotionError, match=r"evl must be trained before it can classify: stillmotion train evl"):
        from_backbone("evl", ["a"], backbone=str(tiny_image_tower))
    with pytest.raises(StillmotionError, match="did you mean 'vificlip'"):
        from_backbone("vifi", ["a"])
    for array, message in (
        (np.zeros((3, 32), np.float32), r"shape \(3, 32\), expected \(2, 32\)"),
        (np.full((2, 32), np.nan, np.float32), "holds NaN"),
    ):
        np.save(tmp_path / "text.npy", array)
        with pytest.raises(StillmotionError, match=message):
            from_backbone("zero_shot", ["a", "b"], backbone=str(tiny_image_tower), text_features=tmp_path / "text.npy")
    (tmp_path / "text.npy").write_bytes(b"no array")
    with pytest.raises(StillmotionError, match=r"pass a \.npy file"):
        from_backbone("zero_shot", ["a", "b"], backbone=str(tiny_image_tower), text_features=tmp_path / "text.npy")


def rewrite(path: Path, out: Path, **changes: object) -> Path:
    """Copy a checkpoint with a changed card."""
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["stillmotion"])
    save_file(load_file(path), out, metadata={"stillmotion": json.dumps(card | changes)})
    return out


def test_checkpoints_of_another_method_size_or_version(
    trained: dict[str, Path], tiny_clip: Path, tmp_path: Path
) -> None:
    for changes, message in (
        (
            {"method": "linear_probe", "method_config": {"num_frames": 4}},
            r"does not fit the model: .*not in the model: .*temporal\.cls_token",
        ),
        ({"method": "evil"}, r"holds method 'evil', which .*STILLMOTION_IMPORT=my_module"),
        ({"format": "stillmotion/9"}, "this version reads"),
        ({"classes": ["a"], "names": ["a"]}, r"misshapen: head\.2\.bias"),
    ):
        with pytest.raises(WeightsError, match=message) as error:
            load_model(rewrite(trained["evl"], tmp_path / "changed.safetensors", **changes))
        assert "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="was not written by stillmotion"):
        stillmotion.load(tiny_clip)
    with pytest.raises(WeightsError, match="no model file"):
        stillmotion.load(tmp_path / "nowhere.safetensors")
    content = trained["evl"].read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        stillmotion.load(tmp_path / "cut.safetensors")


def test_a_model_for_four_frames_fed_eight(trained: dict[str, Path]) -> None:
    model = stillmotion.load(trained["evl"], device="cpu").model
    with pytest.raises(StillmotionError, match=r"positions for 4 frames, the video has 8"):
        model.classify(torch.randn(1, 8, 3, 32, 32))


def test_one_frame_and_long_videos(trained: dict[str, Path], tmp_path: Path) -> None:
    classifier = stillmotion.load(trained["evl"], device="cpu")
    for frames in (1, 3, 120):
        assert 0 <= classifier(write_video(tmp_path / f"{frames}.mp4", frames=frames)).score <= 1


def test_public_names() -> None:
    assert set(stillmotion.__all__) >= {
        "load",
        "from_official",
        "open_video",
        "Explanation",
        "Classifier",
        "Prediction",
        "VideoCLIP",
    }
    assert all(getattr(stillmotion, name) is not None for name in stillmotion.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        stillmotion.lode  # noqa: B018


@pytest.mark.real_weights
@pytest.mark.weizmann
def test_real_tower_with_real_class_embeddings(real_weights, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A filmed actor is a person among the 20 classes of VOC: class embeddings of OpenAI's own text tower, by file."""
    from tests.conftest import WEIZMANN

    folder = Path(WEIZMANN or "")
    features = folder.parent / "clip-text-b16" / "voc12_single.npy"
    if not WEIZMANN or not features.is_file():
        pytest.skip("set STILLMOTION_WEIZMANN to the folder of the Weizmann clips, with clip-text-b16 beside it")
    voc = (
        "aeroplane bicycle bird boat bottle bus car cat chair cow "
        "table dog horse motorbike person plant sheep sofa train monitor"
    )
    save_file(real_weights.state, tmp_path / "tower.safetensors")
    classifier = from_backbone(
        "zero_shot", voc.split(), backbone=str(tmp_path / "tower.safetensors"), text_features=features
    )
    clips = sorted(folder.glob("*/*.avi"))[::9]
    labels = [classifier(path).label for path in clips]
    assert labels.count("person") >= 0.8 * len(labels), labels


def test_names_that_are_looked_up_late_are_listed() -> None:
    import stillmotion

    assert {"load", "train", "open_video", "Classifier", "__version__"} <= set(dir(stillmotion))
