"""The facts that N8N reports with a result: how the image was generated, and what it cost."""

from dataclasses import dataclass
from enum import StrEnum


class NegativePromptUse(StrEnum):
    """What became of the negative prompt."""

    USED = "used"
    """The provider took it."""

    FOLDED = "folded"
    """It became a part of the prompt."""

    IGNORED = "ignored"
    """The model supports none."""


class CostBasis(StrEnum):
    """Where a cost comes from."""

    BILLED = "billed"
    """The provider said it."""

    ESTIMATED = "estimated"
    """It was calculated from a price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFacts:
    """How the image was generated, as far as the provider reported.

    `model` is the provider's name of the model, `seed` the one that was really used, `seconds` how long the inference
    took, and `has_nsfw_concepts` the provider's flag for each image.
    """

    provider: str | None = None
    job_id: str | None = None
    model: str | None = None
    seed: int | None = None
    seconds: float | None = None
    negative_prompt: NegativePromptUse | None = None
    has_nsfw_concepts: tuple[bool, ...] | None = None
    lora: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a generation. `amount` is a decimal as `amount_text` formats it; `units` of `unit` were charged."""

    amount: str
    currency: str
    basis: CostBasis
    units: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one result; None for what is not known."""

    generation: GenerationFacts | None = None
    cost: Cost | None = None

    def note(self, verb: str = "made by") -> str | None:
        """Formats the facts for people; None if there are none.

        Such as `made by fal fal-ai/flux-lora (job 7f), seed 42, 3.1 s; cost 0.035 USD (billed)`.
        """
        made = _made(self.generation, verb) if self.generation else None
        cost = f"cost {self.cost.amount} {self.cost.currency} ({self.cost.basis})" if self.cost else None
        return "; ".join(filter(None, (made, cost))) or None


NO_FACTS = Facts()


def _made(generation: GenerationFacts, verb: str) -> str:
    job = f"(job {generation.job_id})" if generation.job_id else None
    maker = " ".join(filter(None, (generation.provider, generation.model, job)))
    seed = f"seed {generation.seed}" if generation.seed is not None else None
    seconds = f"{generation.seconds:.1f} s" if generation.seconds is not None else None
    return ", ".join(filter(None, (f"{verb} {maker}" if maker else None, seed, seconds)))
