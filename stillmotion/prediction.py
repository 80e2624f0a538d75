"""What a classifier says, and of which classes."""

from dataclasses import dataclass

from torch import Tensor

from stillmotion.errors import StillmotionError


@dataclass(frozen=True, repr=False)
class Prediction:
    """The best class, its probability, and the probabilities of all classes, most probable first.

    They add up to 1, but where videos have several labels: there each class has its own, and `above` gives the labels.
    """

    label: str
    score: float
    scores: dict[str, float]

    def __repr__(self) -> str:
        some = ", ".join(f"{name!r}: {score:.3f}" for name, score in self.top(3))
        more = ", ..." if len(self.scores) > 3 else ""
        return f"Prediction(label={self.label!r}, score={self.score:.3f}, scores={{{some}{more}}})"

    @classmethod
    def of(cls, classes: tuple[str, ...], scores: Tensor) -> "Prediction":
        """From the probabilities (K,) of these classes."""
        order, found = scores.argsort(descending=True).tolist(), scores.tolist()
        named = {classes[i]: found[i] for i in order}
        label, best = next(iter(named.items()))
        return cls(label, best, named)

    def above(self, threshold: float = 0.5) -> list[tuple[str, float]]:
        """The classes of at least this probability, most probable first, and their probabilities."""
        return [(name, score) for name, score in self.scores.items() if score >= threshold]

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes and their probabilities. Raises `StillmotionError`: a count below 1."""
        if count < 1:
            raise StillmotionError(f"top({count}) is of no class; ask for at least 1")
        return list(self.scores.items())[:count]


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """Class names in the order of the logits, and their embeddings (K, E) where a model compares videos with them."""

    classes: tuple[str, ...]
    text: Tensor | None = None

    def __repr__(self) -> str:
        more = ", ..." if len(self.classes) > 3 else ""
        return f"<Vocabulary: {len(self.classes)} classes, {', '.join(map(repr, self.classes[:3]))}{more}>"
