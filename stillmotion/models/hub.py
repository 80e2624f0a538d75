"""Published CLIP weights from the Hugging Face hub, by open_clip's tags; quick to say when there is no hub."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stillmotion.errors import WeightsError, did_you_mean
from stillmotion.progress import say

R = TypeVar("R")

CHECK_SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""


def published(model: str, tag: str) -> dict[str, Any]:
    """Return open_clip's entry for a pretrained tag: where it lies, mean, std, activation.

    Raises:
        WeightsError: open_clip knows no such model or tag.
    """
    import open_clip

    if open_clip.get_model_config(model) is None:
        raise WeightsError(f"open_clip has no model {model!r}{did_you_mean(model, open_clip.list_models())}")
    entry: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    if not entry:
        tags = [*open_clip.list_pretrained_tags_by_model(model), "openai-int8"]
        raise WeightsError(f"{model} has no pretrained tag {tag!r}{did_you_mean(tag, tags)}")
    return entry


def fetch(model: str, tag: str) -> Path:
    """Return the file of a pretrained tag, from the local hub cache or downloaded through open_clip.

    Raises:
        WeightsError: within seconds, when the hub is out of reach.
    """
    import open_clip
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    entry = published(model, tag)
    repository, _, filename = entry.get("hf_hub", "").rpartition("/")
    names = [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    if repository:
        for name in names:
            cached = try_to_load_from_cache(repository, name)
            if isinstance(cached, str):
                return Path(cached)
        url = hf_hub_url(repository, names[0])
        try:
            _within(CHECK_SECONDS, lambda: get_hf_file_metadata(url, timeout=CHECK_SECONDS - 1))
        except Exception as error:
            if not _not_found(error):  # an older repository may hold the .bin file alone
                raise _unreachable(model, tag, error) from error
    say(f"downloading {model}:{tag}")
    try:
        return Path(open_clip.download_pretrained(entry))
    except Exception as error:
        raise _unreachable(model, tag, error) from error


def _not_found(error: Exception) -> bool:
    return type(error).__name__ in ("EntryNotFoundError", "RemoteEntryNotFoundError")


def _unreachable(model: str, tag: str, error: Exception) -> WeightsError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:80]
    return WeightsError(
        f"cannot download {model}:{tag} ({reason}); pass a local CLIP file or folder instead, "
        "or ViT-B-16:openai-int8 (image tower only, from the package index)"
    )


def _within(seconds: float, call: Callable[[], R]) -> R:
    """Run a call that may hang, such as a name lookup, in a thread that is given up after some seconds."""
    results: list[R] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return results[0]
