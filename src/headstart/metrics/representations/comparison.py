"""Every grid between a pretrained network and a fine-tuned one, from their Gram matrices.

Grids are indexed [reference, evaluated]: the layer that was inverted (or stands for it), then the
layer that is evaluated. pt and ft as in `headstart.metrics.representations.stir`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from headstart.metrics.representations.similarity import MINIMUM_IMAGES, cka_grid
from headstart.metrics.representations.stir import (
    TargetGrams,
    cka_divergence,
    flow,
    forgetting,
    learning,
    some,
    stir_grid,
)

Grid = Float64[Tensor, "references evaluated"]
FEWEST = 2 * MINIMUM_IMAGES
"""Images that half-samples need."""
Statistic = Callable[[Int64[Tensor, " chosen"]], Float64[Tensor, "*cells"]]


@dataclass(frozen=True)
class Comparison:
    """Grams of both networks on X, on X′ of pt, and, where ft was inverted, on X′ of ft.

    The first word of a field is the network that is evaluated, the last one that was inverted.
    """

    pt_given_pt: TargetGrams
    ft_given_pt: TargetGrams
    pt_given_ft: TargetGrams | None = None
    ft_given_ft: TargetGrams | None = None

    @property
    def images(self) -> int:
        """Return the number of images per seed."""
        return self.pt_given_pt.originals.shape[-1]


def grids(pair: Comparison, debiased: bool = True) -> dict[str, Grid]:
    """Return all grids by name, averaged over seeds; those of X′ of ft only where it was inverted."""
    return derived(similarities(networks_of(pair), debiased))


def networks_of(pair: Comparison) -> dict[str, TargetGrams]:
    """Return the Grams of both networks, named by who is evaluated and who was inverted."""
    found = {"stir_pt_given_pt": pair.pt_given_pt, "stir_ft_given_pt": pair.ft_given_pt}
    if pair.pt_given_ft is not None and pair.ft_given_ft is not None:
        found |= {"stir_ft_given_ft": pair.ft_given_ft, "stir_pt_given_ft": pair.pt_given_ft}
    return found


def similarities(networks: Mapping[str, TargetGrams], debiased: bool = True) -> dict[str, Grid]:
    """Return STIR of every network, and CKA of pt and ft on X, averaged over seeds."""
    found = {name: stir_grid(grams, debiased).mean(0) for name, grams in networks.items()}
    pt, ft = (networks[name].originals for name in ("stir_pt_given_pt", "stir_ft_given_pt"))
    return found | {
        "cka_pt_pt": cka_grid(pt, pt, debiased).mean(0),
        "cka_ft_pt": cka_grid(pt, ft, debiased).mean(0),
    }


def derived(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add what follows from STIR and CKA; all is linear in them. Leading dimensions are kept.

    `forgetting`, `learning` with the measured self-STIR, `forgetting_paper`, `learning_paper` with
    1 in its place; `flow`; `cka_divergence`.
    """
    pt, ft = found["stir_pt_given_pt"], found["stir_ft_given_pt"]
    result = dict(found) | {
        "forgetting": forgetting(pt, ft),
        "forgetting_paper": forgetting(torch.ones_like(pt), ft),
        "flow": flow(ft),
        "cka_divergence": cka_divergence(found["cka_pt_pt"], found["cka_ft_pt"]),
    }
    if "stir_ft_given_ft" in found:
        own, other = found["stir_ft_given_ft"], found["stir_pt_given_ft"]
        result |= {
            "learning": learning(own, other),
            "learning_paper": learning(torch.ones_like(own), other),
        }
    return result


class Cells(NamedTuple):
    """A grid, and the ends of its interval over images; NaN where there is none."""

    value: Grid
    low: Grid
    high: Grid


@dataclass(frozen=True)
class Sampled:
    """Similarities by name, on all images and on half-samples of them (none: too few images)."""

    value: dict[str, Grid]
    draws: dict[str, Float64[Tensor, "resamples references evaluated"]] | None
    confidence: float

    def interval(self, of: Callable[[Mapping[str, Tensor]], Tensor]) -> Cells:
        """Return value and ends of the interval of anything that is made of similarities.

        No interval for fewer than 8 images, nor where a half-sample is undefined.
        """
        value = of(self.value)
        if self.draws is None:
            nothing = torch.full_like(value, torch.nan)
            return Cells(value, nothing, nothing)
        return Cells(value, *ends(value, of(self.draws), self.confidence))


def sampled(
    networks: Iterable[tuple[str, TargetGrams]],
    forms: Sequence[bool],
    half_samples: Callable[[], torch.Generator],
    resamples: int = 200,
    confidence: float = 0.95,
) -> list[Sampled]:
    """Return the similarities of all networks for each form, on the same half-samples of the images.

    One network after the other, so that an iterator needs the memory of one besides pt and ft.

    Args:
        networks: names, pt and ft given pt among them, and Grams.
        forms: whether debiased.
        half_samples: makes the generator of half-samples anew, always the same.
        resamples: number of half-samples.
        confidence: of the intervals.
    """
    on_x: dict[str, Tensor] = {}
    found: dict[str, tuple[Tensor, Tensor | None]] = {}

    def sample(name: str, similarity: Callable[..., Tensor], *grams: Tensor) -> None:
        def statistic(images: Tensor) -> Tensor:
            chosen = [some(each, images) for each in grams]
            return torch.stack([similarity(*chosen, debiased).mean(0) for debiased in forms])

        images, device = grams[0].shape[-1], grams[0].device
        if images < FEWEST:
            found[name] = statistic(torch.arange(images, device=device)), None
        else:
            found[name] = half_sample_draws(statistic, images, half_samples(), resamples, device)

    for name, grams in networks:
        sample(name, _stir, grams.originals, grams.inverted)
        if name in ("stir_pt_given_pt", "stir_ft_given_pt"):
            on_x[name] = grams.originals
    pt = on_x["stir_pt_given_pt"]
    sample("cka_pt_pt", cka_grid, pt, pt)
    sample("cka_ft_pt", cka_grid, pt, on_x["stir_ft_given_pt"])
    return [
        Sampled(
            {name: value[k] for name, (value, _) in found.items()},
            {name: draws[:, k] for name, (_, draws) in found.items() if draws is not None} or None,
            confidence,
        )
        for k in range(len(forms))
    ]


def _stir(originals: Tensor, inverted: Tensor, debiased: bool) -> Tensor:
    return stir_grid(TargetGrams(originals, inverted), debiased)


def half_sample_draws(
    statistic: Statistic,
    images: int,
    generator: torch.Generator,
    resamples: int = 200,
    device: torch.device | str = "cpu",
) -> tuple[Float64[Tensor, "*cells"], Float64[Tensor, "draws ..."]]:
    """Return the value on all images, and on every half-sample; `ends` makes an interval of them.

    A half-sample scatters about the whole as the whole does about the truth. It has no duplicates,
    which would look similar to themselves and bias debiased similarity, as a bootstrap does.

    Args:
        statistic: from the positions of images to any cells.
        images: how many there are.
        generator: draws the half-samples.
        resamples: number of half-samples.
        device: where the positions are wanted.

    Raises:
        ValueError: fewer than 8 images.
    """
    if images < FEWEST:
        raise ValueError(
            f"an interval from half-samples needs at least {FEWEST} images, found {images}"
        )
    value = statistic(torch.arange(images, device=device))
    orders = (
        torch.randperm(images, generator=generator, device=generator.device)
        for _ in range(resamples)
    )
    draws = torch.stack([statistic(order[: images // 2].to(device)) for order in orders])
    return value, draws


def ends(
    value: Float64[Tensor, "*cells"],
    draws: Float64[Tensor, "draws ..."],
    confidence: float = 0.95,
) -> tuple[Float64[Tensor, "*cells"], Float64[Tensor, "*cells"]]:
    """Return the ends of the interval about a value, from its scatter over half-samples.

    NaN where a half-sample is undefined.
    """
    tails = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=value.dtype)
    lower, upper = (draws - draws.mean(0)).quantile(tails.to(value.device), dim=0)
    return value + lower, value + upper
