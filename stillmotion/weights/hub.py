"""Published weights from the Hugging Face hub and torchvision's server; quick to say when they are out of reach."""

import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stillmotion.errors import WeightsError, did_you_mean, reason
from stillmotion.progress import say
from stillmotion.weights.folders import weight_files

CHECK_SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""


def published(model: str, tag: str) -> dict[str, Any]:
    """Return open_clip's entry for a pretrained tag of a model: where it lies, mean, std, activation.

    Raises `WeightsError`: open_clip knows no such tag of it.
    """
    import open_clip

    entry: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    if not entry:
        tags = [*open_clip.list_pretrained_tags_by_model(model), "openai-int8"]
        raise WeightsError(f"{model} has no pretrained tag {tag!r}{did_you_mean(tag, tags)}")
    return entry


def fetch(model: str, tag: str) -> Path:
    """Return the file of a pretrained tag, from the local hub cache or downloaded.

    Raises `WeightsError`: within seconds, when the hub is out of reach.
    """
    entry = published(model, tag)
    repository, _, filename = entry.get("hf_hub", "").rpartition("/")
    # An older repository may hold the .bin file alone.
    names = [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    mend = "pass a local CLIP file or folder instead; what reads no class names can use ViT-B-16:openai-int8 from the "
    return hub_file(repository, names, f"{mend}package index", f"{model}:{tag}")


def hub_file(repository: str, names: Sequence[str], mend: str, what: str = "") -> Path:
    """Return the first of some files that a hub repository has, from the local hub cache or downloaded.

    Args:
        mend: what to do instead, where there is no hub.
        what: what to call it in messages; the repository.

    Raises `WeightsError`: within seconds, when the hub is out of reach or has none of them.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = [try_to_load_from_cache(repository, name) for name in names]
    if path := next((path for path in cached if isinstance(path, str)), None):
        return Path(path)
    what = what or repository
    with _refused(f"cannot download {what}", mend):
        for name in names:
            try:
                _reach(repository, name, what)
                return Path(hf_hub_download(repository, name))
            except Exception as error:  # the hub's own types, which differ between versions
                absent = type(error).__name__ in ("EntryNotFoundError", "RemoteEntryNotFoundError")
                if not absent or name == names[-1]:
                    raise
    raise AssertionError("one of the names is returned, or the last one's error raised")


def snapshot(repository: str) -> Path:
    """Return the local folder of a hub repository's configuration and weights, downloaded if it is not cached.

    Raises `WeightsError`: within seconds, when the hub is out of reach or has no such repository.
    """
    from huggingface_hub import snapshot_download

    try:
        cached = Path(snapshot_download(repository, local_files_only=True))
        if _complete(cached):
            return cached
    except (OSError, ValueError):  # nothing of it is cached, or the name can be none of the hub's
        pass
    mend = "pass a local folder that save_pretrained wrote"
    if repository.startswith((".", "/", "~")) or repository.count("/") > 1:  # no name of the hub's
        raise WeightsError(f"there is no folder {repository}; {mend}")
    with _refused(f"there is no folder {repository} here, and it cannot be had from the hub", mend):
        _reach(repository, "config.json", repository)
        folder = Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):  # an older repository, which transformers reads with weights_only
            snapshot_download(repository, allow_patterns=["pytorch_model*.bin"])
    return folder


def torchvision_file(url: str) -> Path:
    """Return the file of torchvision's published weights, from PyTorch's cache or downloaded and checked by hash.

    Raises `WeightsError`: within seconds, when the server is out of reach.
    """
    name = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    mend = f"pass a local file: torchvision:MODEL:FILE.pth, or put it into {path.parent}"
    with _refused(f"cannot download {name}", mend):
        request = urllib.request.Request(url, method="HEAD")
        _within(CHECK_SECONDS, lambda: urllib.request.urlopen(request, timeout=CHECK_SECONDS - 1).close())
        say(f"downloading {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    return path


@contextmanager
def _refused(what: str, mend: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub's own types, which differ between versions
        raise WeightsError(f"{what} ({reason(error, 80)}); {mend}") from error


def _reach(repository: str, name: str, what: str) -> None:
    """Ask the hub for a file's metadata, for some seconds at most, and say that it is fetched."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, name)
    _within(CHECK_SECONDS, lambda: get_hf_file_metadata(url, timeout=CHECK_SECONDS - 1))
    say(f"downloading {what}")


def _complete(folder: Path) -> bool:
    """Whether all of a model is there: a download may have been cut off, or may have been for its weights alone."""
    try:
        return all(f.is_file() for f in weight_files(folder)) and any(folder.glob("*processor_config.json"))
    except WeightsError:
        return False


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Run a call that may hang, such as a name lookup, in a thread that is given up after some seconds."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([done], seconds).done:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    done.result()
