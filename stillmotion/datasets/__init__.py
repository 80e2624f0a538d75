"""Known data sets: prepared as manifests, audited, split; each in a file of its own.

prepare(name, root)       a manifest of Kinetics, Something-Something v2, UCF-101, HMDB-51, Diving-48 or any folder
open_source(source)       a manifest file, or any folder or list as one
audit(source, out)        what is wrong with it: unreadable, repeated, leaking clips; a page
few_shot(listing, shots)  seeded subsets for training
base_novel(listing)       halves of the classes
fractions(listing, parts) training, validation and test sets that share no source
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillmotion.datasets.auditing import audit as audit
    from stillmotion.datasets.building import Prepared as Prepared
    from stillmotion.datasets.building import open_source as open_source
    from stillmotion.datasets.building import prepare as prepare
    from stillmotion.datasets.findings import Audit as Audit
    from stillmotion.datasets.splitting import base_novel as base_novel
    from stillmotion.datasets.splitting import few_shot as few_shot
    from stillmotion.datasets.splitting import fractions as fractions

_PUBLIC = {
    "Audit": "findings",
    "audit": "auditing",
    "Prepared": "building",
    "open_source": "building",
    "prepare": "building",
}
_PUBLIC |= dict.fromkeys(("base_novel", "few_shot", "fractions"), "splitting")
__all__ = [*_PUBLIC]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Looked up when first used, so that the command line starts without PyTorch.
        if name not in _PUBLIC:
            raise AttributeError(f"module 'stillmotion.datasets' has no attribute {name!r}")
        return getattr(import_module(f"stillmotion.datasets.{_PUBLIC[name]}"), name)
