"""The loop: exact accumulation, exact resume after SIGKILL, equal results over processes, honest failures."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stillmotion.data.source import Data
from stillmotion.errors import DiskError, StillmotionError
from stillmotion.experiment import fit
from stillmotion.methods import EVL, LinearProbe, ViFiCLIP
from stillmotion.recipes.base import Place, Recipe
from stillmotion.recipes.published import Published
from stillmotion.training.config import Train
from stillmotion.training.loop import Stopped
from stillmotion.training.run_folder import RunFolder
from tests.processes import run_two
from tests.videos import write_video

TRAIN = Train(lr=1e-3, epochs=2, batch_size=4, device="cpu", workers=0)
SMALL = EVL(num_frames=4, layers=2, init="release")


Job = tuple[Recipe[Any], Data, Place]


def evl_run(folder: Path, clip: Path, out: Path, **train: Any) -> Job:
    recipe = Recipe(method=SMALL, train=replace(TRAIN, **train), backbone=str(clip))
    return recipe, Data(data=folder), Place(out=out)


@pytest.mark.parametrize("method", [SMALL, LinearProbe(num_frames=4), ViFiCLIP(num_frames=4)])
def test_every_method_trains_saves_and_evaluates(
    method: Any, folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    recipe = Recipe(method=method, train=TRAIN, backbone=str(tiny_clip))
    result = fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run"))
    assert result.report.scored == result.report.videos == len(result.scores.labels)
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "clips.jsonl", "config.json", "metrics.jsonl", "model.safetensors", "origin.json", "predictions.jsonl",
        "results.json",
    }  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(6))
    assert [line["epoch"] for line in lines if "top1" in line] == [1, 2]
    saved = load_file(tmp_path / "run" / "model.safetensors")
    frozen = [k for k in saved if k.startswith(("visual.", "text."))]
    assert bool(frozen) is isinstance(method, ViFiCLIP), "a frozen backbone is not stored"


def final(recipe: Recipe[Any], data: Data, place: Place) -> dict[str, torch.Tensor]:
    fit(recipe, data, place)
    return load_file(place.out / "model.safetensors")


def test_accumulation_equals_the_whole_batch(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Without dropout, four passes of one clip make the step of one pass of four, the small last batch included."""
    found = []
    for micro in (None, 1, 3):
        recipe, data, place = evl_run(folder_of_videos, tiny_clip, tmp_path / f"m{micro}", micro_batch=micro)
        found.append(final(replace(recipe, method=replace(SMALL, dropout=0.0)), data, place))
    whole, *parts = found
    for part in parts:
        for name in whole:
            assert (whole[name] - part[name]).abs().max() <= 2e-5, name


COMMAND = """
import sys
from pathlib import Path
from tests.training.test_loop import evl_run
from stillmotion.experiment import fit
import stillmotion.training.loop as loop
folder, clip, out, kill_at = sys.argv[1:5]
if int(kill_at) >= 0:
    import os, signal
    step = loop.Trainer._step
    def kill(self, number, *rest):
        if number == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, number, *rest)
    loop.Trainer._step = kill
fit(*evl_run(Path(folder), Path(clip), Path(out), epochs=3, save_minutes=float(sys.argv[5])))
"""


def run_and_kill(folder: Path, clip: Path, out: Path, kill_at: int, save_minutes: float) -> int:
    arguments = [sys.executable, "-c", COMMAND, str(folder), str(clip), str(out), str(kill_at), str(save_minutes)]
    return subprocess.run(arguments, check=False, capture_output=True, env=os.environ).returncode


def test_killed_at_any_step_the_final_weights_are_bit_identical(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    assert run_and_kill(folder_of_videos, tiny_clip, tmp_path / "whole", -1, 1e9) == 0
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    for kill_at, save_minutes in ((0, 0.0), (4, 0.0), (8, 0.0), (5, 1e9)):
        out = tmp_path / f"killed{kill_at}_{save_minutes:g}"
        assert run_and_kill(folder_of_videos, tiny_clip, out, kill_at, save_minutes) == -signal.SIGKILL
        assert not (out / "model.safetensors").exists()
        assert run_and_kill(folder_of_videos, tiny_clip, out, -1, save_minutes) == 0
        resumed = load_file(out / "model.safetensors")
        assert all(torch.equal(expected[k], resumed[k]) for k in expected), f"killed at step {kill_at}"
        steps = [
            json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines() if "loss" in line
        ]
        assert steps == list(range(9)), "every step is logged once"


def test_a_run_without_a_state_says_that_it_starts_over(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, data, _ = evl_run(folder_of_videos, tiny_clip, tmp_path / "new")
    fit(recipe, data, Place(out=tmp_path / "new"))
    assert "starting over" not in capsys.readouterr().err
    (tmp_path / "new" / "results.json").unlink()
    fit(recipe, data, Place(out=tmp_path / "new"))
    assert "starting over: what was here ended before it saved a state" in capsys.readouterr().err


def test_a_run_that_goes_on_says_the_loss_of_the_whole_epoch(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> list[str]:
        return re.findall(r"epoch (\d of \d: loss [\d.]+)", capsys.readouterr().err)

    fit(*evl_run(folder_of_videos, tiny_clip, tmp_path / "whole", epochs=3))
    whole = said()
    assert len(whole) == 3
    assert run_and_kill(folder_of_videos, tiny_clip, tmp_path / "cut", 5, 0.0) == -signal.SIGKILL  # the last of epoch 2
    fit(*evl_run(folder_of_videos, tiny_clip, tmp_path / "cut", epochs=3, save_minutes=0.0))
    assert said() == whole[1:]


def test_stopping_saves_and_the_next_call_goes_on(
    folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillmotion.training import loop

    step = loop.Trainer._step

    def interrupt(self: Any, number: int, *rest: Any) -> Any:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number, *rest)

    whole = final(*evl_run(folder_of_videos, tiny_clip, tmp_path / "whole"))
    monkeypatch.setattr(loop.Trainer, "_step", interrupt)
    with pytest.raises(Stopped, match="stopped after step 3 of 6; run again to go on"):
        fit(*evl_run(folder_of_videos, tiny_clip, tmp_path / "run"))
    monkeypatch.setattr(loop.Trainer, "_step", step)
    resumed = final(*evl_run(folder_of_videos, tiny_clip, tmp_path / "run"))
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def shared_run(folder: Path, clip: Path, out: Path) -> Job:
    """One clip a pass, so that the pass with the bad clip has no other."""
    data = Data(data=folder / "train.txt", val=folder / "val.txt", max_bad=0.2)
    recipe, _, place = evl_run(folder, clip, out, micro_batch=1)
    return replace(recipe, method=replace(SMALL, dropout=0.0)), data, place


def test_two_processes_give_the_step_of_one(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Also where one of them meets a video that cannot be read."""
    (tmp_path / "bad.mp4").write_text("no video")
    clips = {p: p.parent.name for p in sorted(folder_of_videos.rglob("*.mp4"))}
    for part, start in (("train", 1), ("val", 0)):
        chosen = [p for i, p in enumerate(clips) if (i % 3 == 0) == (start == 0)]
        (tmp_path / f"{part}.txt").write_text("".join(f"{p} {clips[p]}\n" for p in chosen))
    with (tmp_path / "train.txt").open("a") as file:
        file.write(f"{tmp_path / 'bad.mp4'} left\n")
    script = tmp_path / "job.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from tests.training.test_loop import shared_run\nfrom stillmotion.experiment import fit\n"
        "if __name__ == '__main__':\n"
        "    fit(*shared_run(*map(Path, sys.argv[1:4])))\n"
    )
    run_two(script, tmp_path, tiny_clip, tmp_path / "two")
    one = final(*shared_run(tmp_path, tiny_clip, tmp_path / "one"))
    two = load_file(tmp_path / "two" / "model.safetensors")
    for name in one:
        assert (one[name] - two[name]).abs().max() <= 2e-5, name
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("one", "two")]
    assert results[0]["scored"] == results[1]["scored"] == results[0]["videos"]
    assert results[0]["confusion"] == results[1]["confusion"]


def test_settings_must_agree_to_resume(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    recipe, data, place = evl_run(folder_of_videos, tiny_clip, tmp_path / "run", epochs=1)
    fit(recipe, data, place)
    with pytest.raises(StillmotionError, match=r"holds this run, finished; .* --overwrite"):
        fit(recipe, data, place)
    free = replace(place, cache=tmp_path / "elsewhere", explain=True)
    published = replace(recipe, published=(Published("UCF-101", "top-1", 99.9),))
    assert fit(published, replace(data, max_bad=0.5), free, keep=True).report.scored == 2
    other = replace(recipe, train=replace(recipe.train, lr=5e-4))
    with pytest.raises(StillmotionError, match=r"other settings \(recipe\.train\.lr was 0\.001, is 0\.0005\)"):
        fit(other, data, place)
    fit(other, data, replace(place, overwrite=True))


def test_a_run_goes_on_only_with_the_same_clips(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """With one clip gone the split is another one: clips trained on would be used for validation."""
    clips = tmp_path / "clips.txt"
    lines = [f"{p} {p.parent.name}" for p in sorted(folder_of_videos.rglob("*.mp4"))]
    clips.write_text("\n".join(lines))
    recipe, _, place = evl_run(folder_of_videos, tiny_clip, tmp_path / "run", epochs=1)
    fit(recipe, Data(data=clips), place)
    clips.write_text("\n".join(lines[1:]))
    with pytest.raises(StillmotionError, match="other settings \\(other clips"):
        fit(recipe, Data(data=clips), place, keep=True)


def test_overwriting_leaves_other_files(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    recipe, data, place = evl_run(folder_of_videos, tiny_clip, tmp_path, epochs=1)
    fit(recipe, data, place)
    fit(recipe, data, replace(place, overwrite=True))
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_tensorboard_files_are_written_on_request(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    fit(*evl_run(folder_of_videos, tiny_clip, tmp_path / "run", epochs=1, track="tensorboard"))
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))


def test_bad_videos_are_skipped_counted_and_listed(
    tmp_path: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("a", "b"):
        for i in range(6):
            write_video(tmp_path / "videos" / label / f"{i}.mp4", frames=8, seed=i + 10 * (label == "a"))
    (tmp_path / "videos" / "a" / "empty.mp4").write_bytes(b"")
    (tmp_path / "videos" / "b" / "text.mp4").write_text("no video")
    for part in ("train", "val"):  # one bad video on each side
        keep = [p for p in (tmp_path / "videos").rglob("*.mp4") if (p.stem in ("0", "1", "text")) == (part == "val")]
        (tmp_path / f"{part}.txt").write_text("".join(f"{p} {p.parent.name}\n" for p in keep))
    for name, method in (("cached", SMALL), ("streamed", ViFiCLIP(num_frames=2))):
        data = Data(data=tmp_path / "train.txt", val=tmp_path / "val.txt", max_bad=0.2)
        recipe = Recipe(method=method, train=replace(TRAIN, epochs=1), backbone=str(tiny_clip))
        result = fit(recipe, data, Place(out=tmp_path / name))
        listed = [json.loads(line) for line in (tmp_path / name / "bad_videos.jsonl").read_text().splitlines()]
        assert {Path(line["path"]).name for line in listed} == {"empty.mp4", "text.mp4"}
        assert result.report.scored + len(result.report.bad) == result.report.videos
        assert "2 of 14 videos could not be read and were skipped" in capsys.readouterr().err
        with pytest.raises(StillmotionError, match=r"of 14 videos cannot be read, more than --max-bad 0\.01 allows"):
            fit(recipe, replace(data, max_bad=0.01), Place(out=tmp_path / f"strict_{name}"))


def test_a_full_disk_is_one_line_and_keeps_the_last_state(tmp_path: Path) -> None:
    """With a limit on the size of files in the place of a full disk."""
    resource = pytest.importorskip("resource")
    folder = RunFolder(tmp_path / "run", {"a": 1})
    folder.save_state({"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DiskError, match=r"no space left to write .*state\.pt"):
            folder.save_state({"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert folder.load_state() == {"step": 1}
    folder.close()
    assert {p.name for p in folder.path.iterdir()} == {"config.json", "state.pt"}


def test_a_loss_that_is_not_finite_ends_the_run(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(StillmotionError, match=r"the loss is (nan|inf) at step \d; lower --lr"):
        fit(*evl_run(folder_of_videos, tiny_clip, tmp_path / "run", lr=1e30, epochs=3))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_weights_that_are_not_finite_are_refused(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = load_file(tiny_clip)
    state["visual.ln_post.weight"][0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(StillmotionError, match=r"nan\.safetensors.*visual\.ln_post\.weight"):
        fit(*evl_run(folder_of_videos, tmp_path / "nan.safetensors", tmp_path / "run"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr is 0.0; it must be above 0"),
        ({"batch_size": 0}, "batch-size is 0"),
        ({"micro_batch": 0}, "micro-batch is 0"),
        ({"warmup": 2.0}, "warmup takes 2 of 2 epochs; it must be shorter than the run: pass another --warmup"),
        ({"label_smoothing": 1.0}, "label-smoothing is 1.0"),
        ({"weight_decay": -1.0}, "weight-decay is -1.0"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StillmotionError, match=message):
        replace(TRAIN, **settings)


def test_augmentation_of_cached_features_needs_views(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    recipe, data, place = evl_run(folder_of_videos, tiny_clip, tmp_path / "run")
    with pytest.raises(StillmotionError, match="--cached-views"):
        fit(replace(recipe, augment="crop"), data, place)
    with pytest.raises(StillmotionError, match="--mix blends pixels"):
        fit(replace(recipe, train=replace(recipe.train, mix=True)), data, Place(out=tmp_path / "mix"))
    result = fit(replace(recipe, augment="crop", cached_views=3), data, Place(out=tmp_path / "views", overwrite=True))
    assert result.report.scored == 2


def test_mixing_and_bf16_train_clip_itself(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    train = replace(TRAIN, mix=True, precision="bf16", epochs=1, label_smoothing=0.1, clip_grad=1.0, decay="matrices")
    recipe = Recipe(
        method=ViFiCLIP(num_frames=2), train=train, backbone=str(tiny_clip),
        augment="vificlip", flip=0.5, statistics="imagenet",
    )  # fmt: skip
    assert fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run")).report.scored == 2


def test_text_towers_are_asked_for(folder_of_videos: Path, tiny_image_tower: Path, tmp_path: Path) -> None:
    recipe = Recipe(method=ViFiCLIP(), train=TRAIN, backbone=str(tiny_image_tower))
    with pytest.raises(StillmotionError, match="holds an image tower only"):
        fit(recipe, Data(data=folder_of_videos), Place(out=tmp_path / "run"))


def test_time_is_not_part_of_the_result(folder_of_videos: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Two runs, one saving at every step and slower for it, give the same bits."""
    a = final(*evl_run(folder_of_videos, tiny_clip, tmp_path / "a", save_minutes=0.0))
    time.sleep(0.01)
    b = final(*evl_run(folder_of_videos, tiny_clip, tmp_path / "b", save_minutes=1e9))
    assert all(torch.equal(a[k], b[k]) for k in a)
