"""Known data sets: prepared as manifests, audited, split; each in a file of its own.

prepare(name, root)       a manifest of Kinetics, Something-Something v2, UCF-101, HMDB-51, Diving-48 or any folder
audit(source, out)        what is wrong with it: unreadable, repeated, leaking clips; a page
few_shot(listing, shots)  seeded subsets for training
base_novel(listing)       halves of the classes
fractions(listing, parts) training, validation and test sets that share no source
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillmotion.datasets.building import Prepared as Prepared
    from stillmotion.datasets.building import prepare as prepare

_PUBLIC = {"Prepared": "building", "prepare": "building"}
__all__ = [*_PUBLIC]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Looked up when first used, so that the command line starts without PyTorch.
        if name not in _PUBLIC:
            raise AttributeError(f"module 'stillmotion.datasets' has no attribute {name!r}")
        return getattr(import_module(f"stillmotion.datasets.{_PUBLIC[name]}"), name)
