"""Pretraining of the tiny CLIP: it learns, the same settings give the same bits, and a stopped run goes on to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from stillmotion import pretrain as module
from stillmotion.backbones.load import load_backbone
from stillmotion.cli import main
from stillmotion.errors import StillmotionError
from stillmotion.files import sha256
from stillmotion.pretrain import Pretrain, Stills, Towers, Words, pixels, pretrain, rate
from stillmotion.weights.readers import read_safetensors

SMALL = {"steps": 4, "batch": 4, "threads": 1, "workers": 0, "warmup": 1}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is met by a signal."""

    @contextmanager
    def signals() -> Iterator[list[int]]:
        yield [2]

    monkeypatch.setattr(module, "stop_signals", signals)


def test_the_same_settings_give_the_same_file(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1)):
        pretrain(Pretrain(out=file, seed=seed, **SMALL))
    assert sha256(files[0]) == sha256(files[1]) != sha256(files[2])
    assert sorted(p.name for p in tmp_path.iterdir()) == [f.name for f in files], "nothing else is left"


def test_a_run_that_is_stopped_after_every_step_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopping: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped, whole = tmp_path / "stopped.safetensors", tmp_path / "whole.safetensors"
    for step in range(1, 5):
        with pytest.raises(KeyboardInterrupt, match=f"after step {step} of 4"):
            pretrain(Pretrain(out=stopped, **SMALL))
        assert not stopped.exists()
    pretrain(Pretrain(out=stopped, **SMALL))
    assert "resuming at step 2 of 4" in capsys.readouterr().err
    monkeypatch.undo()
    pretrain(Pretrain(out=whole, **SMALL))
    assert sha256(stopped) == sha256(whole)


def test_a_stopped_run_may_become_longer_before_its_rate_falls(tmp_path: Path, stopping: None) -> None:
    file = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain(Pretrain(out=file, **SMALL))
    with pytest.raises(KeyboardInterrupt, match="after step 2 of 40"):
        pretrain(Pretrain(out=file, **SMALL | {"steps": 40}))
    with pytest.raises(StillmotionError, match=r"other settings \(steps was 40, is 2\)"):
        pretrain(Pretrain(out=file, **SMALL | {"steps": 2}))
    with pytest.raises(StillmotionError, match=r"other settings \(batch was 4, is 5\)"):
        pretrain(Pretrain(out=file, **SMALL | {"batch": 5, "steps": 40}))


def test_a_damaged_state_and_a_file_in_the_way_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.with_name("a.safetensors.state").write_bytes(b"damaged")
    with pytest.raises(StillmotionError, match="is damaged; remove it"):
        pretrain(Pretrain(out=file, **SMALL))
    file.write_bytes(b"mine")
    with pytest.raises(StillmotionError, match="there already"):
        pretrain(Pretrain(out=file, **SMALL))
    assert file.read_bytes() == b"mine"


@pytest.mark.parametrize("option", ["--steps=0", "--batch=1", "--lr=-1", "--out=model.pt"])
def test_bad_settings_are_one_line(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"--out={tmp_path / 'a.safetensors'}", option]
    with pytest.raises(SystemExit) as stop:
        main(["pretrain-tiny", *(words if "out" not in option else words[1:])])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_command_writes_a_backbone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.safetensors"
    main(["pretrain-tiny", "-o", str(file), *(f"--{k}={v}" for k, v in SMALL.items())])
    assert str(file) in capsys.readouterr().out
    backbone = load_backbone(str(file)).backbone
    assert backbone.text is not None and backbone.pixels.size == (96, 96) and backbone.embed_dim == 128


def test_towers_learn_a_batch() -> None:
    """The loss of one batch, again and again, falls from guessing to nearly nothing."""
    torch.manual_seed(0)
    table = Words()
    model = Towers(len(table.ids))
    stills, captions = Stills(seed=0, batch=8, captions=1)[0]
    images, tokens = pixels(stills), table.encode(captions)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = model(images, tokens)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5 and losses[-1] < 0.5


def test_the_loss_is_clips() -> None:
    """Against the pseudocode of CLIP's figure 3, for each of two captions of every still."""
    torch.manual_seed(0)
    table = Words()
    model = Towers(len(table.ids)).eval()
    stills, captions = Stills(seed=0, batch=3, captions=2)[0]
    assert len(captions) == 6
    expected = []
    for k in range(2):
        image = model.visual(pixels(stills)[:, None])["frames"][:, 0]
        text = model.text(table.encode(captions[3 * k : 3 * k + 3]))
        cosines = (image / image.norm(dim=1, keepdim=True)) @ (text / text.norm(dim=1, keepdim=True)).T
        logits = cosines * model.logit_scale.exp()
        expected += [-logits.log_softmax(dim=axis).diagonal().mean() for axis in (0, 1)]
    found = model(pixels(stills), table.encode(captions))
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_a_word_of_no_caption_is_refused() -> None:
    with pytest.raises(StillmotionError, match="a word that `words` lacks"):
        Words().encode(["a person surfing"])


def test_the_rate_rises_stays_and_falls() -> None:
    options = Pretrain(out=Path("a.safetensors"), steps=100, warmup=10, lr=1.0)
    assert [rate(options, s) for s in (0, 9, 50, 80)] == [0.1, 1.0, 1.0, 1.0]
    assert rate(options, 90) == pytest.approx(0.5) and rate(options, 99) == pytest.approx(0.05)


def test_the_file_holds_few_rows_in_half_precision(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    pretrain(Pretrain(out=file, **SMALL))
    state = read_safetensors(file)
    ids = state.pop("token_embedding.ids")
    assert {t.dtype for t in state.values()} == {torch.float16}
    assert len(ids) == len(state["token_embedding.weight"]) < 300 and ids.dtype == torch.int32
    assert int(ids.min()) > 0 and int(ids.max()) == 49407, "the end token is one of them, padding is none"
