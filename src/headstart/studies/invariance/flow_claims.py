"""What the tables of the invariance study say of claims I9 and I10 of arXiv 2307.06006: flow between layers."""

import pandas as pd

from headstart.statistics.claim_results import ClaimResult, bounded
from headstart.statistics.intervals import mean_interval
from headstart.studies.invariance.layer_claims import missing
from headstart.studies.invariance.network_tables import (
    CLASSIFY,
    NETWORK,
    RECONSTRUCT,
    Array,
    Networks,
    words,
)

NOT_IDENTIFIABLE = (
    "Expansion is not identifiable: with exact inversions the pretrained network itself reaches 1 "
    "at every later layer, and nothing can exceed it."
)


def compression(networks: Networks) -> ClaimResult:
    """9: excess compression beyond every control, over all cells j < i, for fine-tuned runs.

    Not to exceed a control contradicts nothing: a control that replaces only blocks after j has
    C(i, j) = 0 exactly, so that C beyond the strictest is never above C, and lies at or below zero
    already where nothing was fine-tuned. What contradicts the claim is C itself, which is 0 for an
    unchanged network, surely below zero: then a mean above zero is ruled out without any control.
    """
    kinds = [name for name in ("random", "scratch")
             if len(networks.grid(CLASSIFY, f"excess_over_{name}"))]  # fmt: skip
    if not kinds:
        return missing(CLASSIFY)
    tables = [networks.grid(CLASSIFY, f"excess_over_{name}") for name in kinds]
    cell = [*NETWORK, "arm", "source_epoch", "target_seed", "reference_layer", "layer"]
    table = pd.concat(tables).sort_values("value").drop_duplicates(cell)
    beyond = mean_interval(_by_network(table))
    plain = mean_interval(_by_network(networks.grid(CLASSIFY, "excess_compression")))
    sure = table.assign(sure=table["low"] > 0).groupby(["reference_layer", "layer"])["sure"].all()
    listed = ", ".join(f"{i} to {j}" for i, j in sure[sure].index) or "none"
    text = (
        f"Excess compression, mean over cells j < i: {words(plain)}; beyond the strictest control: "
        f"{words(beyond)}. Cells whose interval over images lies above zero in every network (from block "
        f"to block): {listed}. The paper's flow reaches {_largest_flow(networks):+.3f} there, without a "
        "null."
    )
    if beyond.low > 0:
        return bounded("supported", text, beyond)
    if plain.high < 0:
        text += (
            " Earlier blocks share less with late ones than before, on average, for which forgetting "
            "is enough: a mean above zero is ruled out, whatever the control."
        )
        return bounded("contradicted", text, beyond)
    if beyond.high < 0:
        text += " It is not above the control, as it would not be without any fine-tuning."
    return bounded("undetermined", text, beyond)


def _by_network(cells: pd.DataFrame) -> Array:
    return cells.groupby(NETWORK)["value"].mean().to_numpy(dtype=float)


def _largest_flow(networks: Networks) -> float:
    flow = networks.grid(CLASSIFY, "flow")
    earlier = flow[flow["layer"] < flow["reference_layer"]].groupby(["reference_layer", "layer"])
    return float(earlier["value"].mean().max())


def expansion(networks: Networks) -> ClaimResult:
    """10: nothing can be said, whatever the flow."""
    flow = networks.grid(RECONSTRUCT, "flow")
    later = flow[flow["layer"] > flow["reference_layer"]]
    if later.empty:
        return ClaimResult("undetermined", NOT_IDENTIFIABLE)
    largest = later.groupby(["reference_layer", "layer"])["value"].mean().max()
    return ClaimResult(
        "undetermined",
        f"{NOT_IDENTIFIABLE} The paper's flow, reconstructing, reaches {largest:+.3f}.",
    )
