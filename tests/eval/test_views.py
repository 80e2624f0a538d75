"""Views averaged as probabilities or as logits: by hand, in every command, and of no matter to the feature cache."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import stillmotion
from stillmotion.cli import main
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.eval.views import average_views
from stillmotion.features.store import VERSION, FeatureSpec


def test_by_hand() -> None:
    logits = torch.tensor([[math.log(8), 0.0], [0.0, math.log(2)]])  # probabilities 8/9, 1/9 and 1/3, 2/3
    assert average_views(logits, "softmax").tolist() == pytest.approx([11 / 18, 7 / 18])
    # exp of the mean logits: sqrt(8) and sqrt(2), so 2 to 1
    assert average_views(logits, "logits").tolist() == pytest.approx([2 / 3, 1 / 3])
    both = torch.stack([logits, logits.flip(-1)])
    assert average_views(both, "logits").flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_of_one_view_both_are_the_same() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]])
    assert torch.equal(average_views(logits, "softmax"), average_views(logits, "logits"))


def test_the_two_can_name_different_classes() -> None:
    # One view is sure of the first class, two lean to the second: 0.9975 + 2 * 0.1192 < 1.5, and 6 - 4 > 0.
    logits = torch.tensor([[6.0, 0.0], [-2.0, 0.0], [-2.0, 0.0]])
    assert [average_views(logits, how).argmax().item() for how in ("softmax", "logits")] == [1, 0]


def test_the_key_of_the_cache_does_not_depend_on_it() -> None:
    spec = FeatureSpec(backbone="b", num_frames=4, preprocess=Preprocess(), sampling=Sampling(views=3))
    other = replace(spec, sampling=Sampling(views=3, average="logits"))
    assert spec.key == other.key
    assert spec.content()["sampling"] == {"scheme": "segments", "stride": 16, "views": 1, "crops": 1}, "as it ever was"
    assert spec.content()["version"] == VERSION
    assert spec.key != replace(spec, sampling=Sampling(scheme="dense")).key


def test_it_travels_with_the_model(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Training, `eval` from the cache and from videos, and the classifier agree; the softmax's numbers are others."""
    words = ["train", "linear_probe", "--data", folder_of_videos, "--backbone", tiny_clip, "--num-frames", 2]
    words += ["--epochs", 20, "--lr", 0.03, "--no-report", "--views", 3, "--crops", 3, "--cache", tmp_path / "cache"]
    found = {}
    for how in ("softmax", "logits"):
        run = tmp_path / how
        main(list(map(str, [*words, "--average", how, "--out", run])))
        found[how] = _probabilities(run / "predictions.jsonl")
        classifier = stillmotion.load(run / "model.safetensors")
        assert classifier.sampling.average == how
        for path, p in found[how].items():
            views = classifier.read(path)
            with torch.inference_mode():
                expected = average_views(classifier.model.classify(views, None), how)
            assert p == pytest.approx(expected.tolist(), abs=5e-3)
            scores = classifier(path).scores
            assert [scores[name] for name in classifier.classes] == pytest.approx(expected.tolist(), abs=1e-5)
        for name, more in (("cached", ()), ("live", ("--no-cached",))):
            out = tmp_path / f"{how}-{name}"
            main(list(map(str, ["eval", run / "model.safetensors", "--data", folder_of_videos, "--no-report",
                                "--cache", tmp_path / "cache", "--out", out, *more])))  # fmt: skip
            again = _probabilities(out / "eval_predictions.jsonl")
            assert all(again[path] == pytest.approx(p, abs=5e-3) for path, p in found[how].items())
    assert any(found["logits"][p] != pytest.approx(found["softmax"][p], abs=1e-6) for p in found["logits"])
    assert len(list((tmp_path / "cache").glob("*/spec.json"))) == 1, "both read one cache"
    main(list(map(str, ["eval", tmp_path / "softmax" / "model.safetensors", "--data", folder_of_videos, "--no-report",
                        "--cache", tmp_path / "cache", "--out", tmp_path / "asked", "--average=logits"])))  # fmt: skip
    asked = _probabilities(tmp_path / "asked" / "eval_predictions.jsonl")
    assert any(asked[p] != pytest.approx(found["softmax"][p], abs=1e-6) for p in found["softmax"])


def _probabilities(file: Path) -> dict[str, list[float]]:
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {line["path"]: line["probabilities"] for line in lines}
