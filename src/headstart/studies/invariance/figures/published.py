"""Which published series stand beside runs to a target, and in which form our values compare with them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from headstart.studies.invariance.network_tables import RECONSTRUCT, SCRATCH, of_form

# The published form of a metric: biased CKA, as in the authors' code, and 1 in place of self-STIR.
PAPER_FORM = {
    "forgetting_paper": "forgetting",
    "learning_paper": "learning",
    "cka_divergence": "cka_divergence",
}
FORM_WORDS = (
    "Thin: ours in the published form, biased CKA and 1 in place of self-STIR; other lines: debiased "
    "CKA, self-STIR measured."
)


@dataclass(frozen=True)
class Published:
    """The published figures on one target, by the names that they have in `published/`.

    Attributes:
        words: the target.
        tasks: figures of forgetting and learning, and of CKA divergence, with the series classify and
            reconstruct.
        starts: the same with the series other_cifar and random; empty where there are none.
        flow: figures of flow with what the runs do.
        dynamics: figures over epochs by metric.
    """

    words: str
    tasks: tuple[str, ...]
    starts: tuple[str, ...] = ()
    flow: tuple[tuple[str, str], ...] = ()
    dynamics: tuple[tuple[str, str], ...] = ()


PUBLISHED = {
    "cifar10": Published(
        "CIFAR-10",
        ("fig1_cifar10_a", "fig1_cifar10_b"),
        ("fig2a_cifar10", "fig3a_cifar10"),
        (
            ("fig4a_flow_cifar10_classify", "classifying"),
            ("fig4b_flow_cifar10_reconstruct", "reconstructing"),
        ),
        (
            ("forgetting", "fig5b_forgetting_cifar10"),
            ("learning", "fig5a_learning_cifar10"),
            ("cka_divergence", "fig12a_ckadiv_cifar10"),
            ("accuracy", "fig5c_accuracy_cifar10"),
        ),
    ),
    "cifar100": Published(
        "CIFAR-100",
        ("fig7_cifar100_a", "fig7_cifar100_b"),
        ("fig2b_cifar100", "fig3b_cifar100"),
        (
            ("fig10a_flow_cifar100_classify", "classifying"),
            ("fig10b_flow_cifar100_reconstruct", "reconstructing"),
        ),
        (
            ("forgetting", "fig11b_forgetting_cifar100"),
            ("learning", "fig11a_learning_cifar100"),
            ("cka_divergence", "fig12b_ckadiv_cifar100"),
            ("accuracy", "fig13_accuracy_cifar100"),
        ),
    ),
    "eurosat": Published("EuroSAT", ("fig8_eurosat_a", "fig8_eurosat_b")),
    "pet": Published("Oxford-IIIT Pet", ("fig9_pets_a", "fig9_pets_b")),
}
# Beside targets that the paper does not have, the one that it shows first.
FALLBACK = "cifar10"


def beside(target: str) -> Published:
    """Return the published figures on a target, or those on CIFAR-10."""
    return PUBLISHED.get(target, PUBLISHED[FALLBACK])


def layer_series(published: pd.DataFrame, run: pd.Series) -> pd.DataFrame:
    """Return the published values over layers that compare with a run; empty where there are none.

    `run` has `does`, source, target and given_weights. Columns: metric, layer, value, start.
    """
    found = beside(str(run["target"]))
    figures, series, start = found.tasks, "classify", "ImageNet"
    if run["does"] == RECONSTRUCT:
        series = "reconstruct"
    elif run["does"] == SCRATCH:
        figures, series, start = found.starts, "random", "random weights"
    elif not run["given_weights"] and {run["source"], run["target"]} == {"cifar10", "cifar100"}:
        figures, series, start = found.starts, "other_cifar", "the other CIFAR"
    names = {f"{series}.{metric}": metric for metric in PAPER_FORM.values()}
    rows = published[published["figure"].isin(figures) & published["series"].isin(list(names))]
    return rows.assign(
        metric=rows["series"].map(names), layer=rows["x"].astype(float).astype(int), start=start
    )[["metric", "layer", "value", "start"]]


def in_published_form(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return our values in the published form, under the names of the measured one."""
    rows = of_form(measurements[measurements["metric"].isin(list(PAPER_FORM))], "biased")
    return rows.assign(metric=rows["metric"].map(PAPER_FORM))
