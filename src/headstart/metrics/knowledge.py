"""Preserved, discarded and new knowledge of a fine-tuned network, and how much of it another
network shares.

Sums never count S = ∅. arXiv 2410.08455 names K_preserve, K_discard, K_new and the ratio of §
3.2.2; their equations here follow the same authors' earlier work, where the shared effect of two
interactions is zero for opposite signs, else the smaller magnitude with the common sign.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstart.metrics.interactions import count_players, order_profile, strength, without_empty_set
from headstart.metrics.salience import Scope, salient

Table = Float[Tensor, "*batch subsets"]
Images = Float[Tensor, "images subsets"]


class Decomposition(NamedTuple):
    """K_preserve, K_discard and K_new, shaped like the interactions and in their units."""

    preserved: Tensor
    discarded: Tensor
    new: Tensor


class Ratio(NamedTuple):
    """A share of knowledge over images, NaN where undefined, and the number of such images."""

    ratio_of_sums: Float[Tensor, ""]
    """Σ_x part / Σ_x whole, the primary form."""
    mean_of_ratios: Float[Tensor, ""]
    """The mean of part/whole over the images where whole > 0."""
    undefined: int
    """Images where the whole is zero or not a number."""
    parts: Float[Tensor, " images"]
    wholes: Float[Tensor, " images"]


def ratio(parts: Float[Tensor, " images"], wholes: Float[Tensor, " images"]) -> Ratio:
    """Return both forms of a ratio over images; a whole of zero or NaN counts in neither."""
    defined = (wholes > 0) & ~parts.isnan()
    missing = wholes.isnan() | parts.isnan()
    kept_parts, kept_wholes = parts.where(~missing, 0), wholes.where(~missing, 0)
    return Ratio(
        kept_parts.sum() / kept_wholes.sum(),
        (parts[defined] / wholes[defined]).mean(),
        int((~defined).sum()),
        parts,
        wholes,
    )


def shared_effect(first: Table, second: Table) -> Table:
    """Return 1[I₁·I₂ > 0]·sign(I₁)·min(|I₁|, |I₂|), entry by entry; NaN where one of them is."""
    if first.shape != second.shape:
        raise ValueError(
            f"the two networks have interactions of shapes {tuple(first.shape)} "
            f"and {tuple(second.shape)}: "
            "evaluate both on the same images, players and classes"
        )
    signs = first.sign()
    return signs * torch.minimum(first.abs(), second.abs()) * (signs * second.sign()).clamp(min=0)


def decompose(pretrained: Table, finetuned: Table) -> Decomposition:
    """Return K_preserve, the shared effect, I_pre − K_preserve and I_ft − K_preserve.

    Hence |I_pre| = |K_preserve| + |K_discard| and |I_ft| = |K_preserve| + |K_new|.
    """
    count_players(pretrained)
    preserved = shared_effect(pretrained, finetuned)
    return Decomposition(preserved, pretrained - preserved, finetuned - preserved)


def share(part: Images, whole: Images) -> Ratio:
    """Return Σ|part| / Σ|whole|, such as K_preserve in I_pre, or K_new in I_ft."""
    return ratio(strength(part), strength(whole))


def share_by_order(part: Images, whole: Images) -> Float[Tensor, " order"]:
    """Return the ratio of sums by order 1 … n, such as Discard^(m)/All_pre^(m); NaN for 0/0."""
    return order_profile(part).sum(0) / order_profile(whole).sum(0)


def exclusivity(preserved: Images, scratch: Images) -> Ratio:
    """Return r = Σ 1[K·I_scr > 0]·min(|K|, |I_scr|) / Σ|K|, with K = K_preserve.

    It is the share of preserved knowledge that training from scratch finds too. The paper reports
    such a ratio in § 3.2.2; this equation is inferred. Chance is far from zero: compare with a null.
    """
    return share(shared_effect(preserved, scratch), preserved)


def exclusivity_by_count(
    preserved: Images, scratch: Images, fraction: float = 0.05, scope: Scope = "model"
) -> Ratio:
    """Return the share of salient K_preserve(S) where I_scr(S) is salient with the same sign."""
    kept = salient(preserved, fraction, scope)
    found = kept & salient(scratch, fraction, scope) & (preserved.sign() == scratch.sign())
    return ratio(_count(found, preserved), _count(kept, preserved))


def _count(chosen: Bool[Tensor, "images subsets"], table: Tensor) -> Tensor:
    invalid = table.isnan().any(-1)
    return chosen.sum(-1).to(table.dtype).masked_fill(invalid, torch.nan)


def scratch_only(pretrained: Images, finetuned: Images, scratch: Images) -> Ratio:
    """Return the share of Σ|I_scr| that neither the pretrained nor the fine-tuned network has."""
    in_either = torch.maximum(
        shared_effect(scratch, pretrained).abs(), shared_effect(scratch, finetuned).abs()
    )
    return share(scratch.abs() - in_either, scratch)


def weighted_jaccard(first: Table, second: Table) -> Float[Tensor, "*batch"]:
    """Return J = Σ min(Ĩ₁, Ĩ₂) / Σ max(Ĩ₁, Ĩ₂) with Ĩ = [max(I, 0); max(−I, 0)]; NaN where both are
    empty.

    Symmetric, within [0, 1], and 1 only for equal tables. The form is inferred from the authors'
    code.
    """
    first, second = without_empty_set(first), without_empty_set(second)
    positive = first.clamp(min=0), second.clamp(min=0)
    negative = (-first).clamp(min=0), (-second).clamp(min=0)
    common = torch.minimum(*positive) + torch.minimum(*negative)
    union = torch.maximum(*positive) + torch.maximum(*negative)
    return common.sum(-1) / union.sum(-1)


def normalise(interactions: Images, by: Literal["strength", "gain"] = "strength") -> Images:
    """Return the interactions of one network divided by its scale over images; NaN where the scale
    is zero.

    The scale is E_x Σ|I(S)| (`strength`) or E_x |v(N) − v(∅)| (`gain`), so that networks whose
    log-odds differ by a factor can be compared. The gain is small, and the result large, where v(N)
    ≈ v(∅).
    """
    if by == "strength":
        scale = strength(interactions).mean()
    elif by == "gain":
        scale = without_empty_set(interactions).sum(-1).abs().mean()
    else:
        raise ValueError(f"the normalisation is {by!r}: choose 'strength' or 'gain'")
    return interactions / scale.masked_fill(scale == 0, torch.nan)
