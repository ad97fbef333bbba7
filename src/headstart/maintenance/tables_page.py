"""docs/tables.md: the columns of every study's measurements, from the schemas that write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headstart.registry import STUDIES
from headstart.steps.step import resolve

HEAD = """\
# Tables and columns

Written by `headstart generate` from the schemas in the source. `results/tables/STUDY-*/` holds a study's tables as Parquet; `measurements.parquet` has the same columns in all studies, and some of its own. What stands in the column `metric`, and the other tables, the studies' pages say. The table that a figure draws lies beside it in `figures/`, as CSV; `headstart pack` puts all of them into one zip.

```python
import glob
import pandas as pd
from headstart.statistics.measurements import select

table = pd.read_parquet(glob.glob("results/tables/knowledge-*/measurements.parquet")[0])
select(table, metric="preserved_of_pretrained", condition="measured", seed=None)
```

An empty text means that a column does not apply; a missing number, that there is none.
"""
KINDS = {"str": "text", "Int64": "whole number", "float64": "number", "bool": "true or false"}
MEANINGS = {
    "study": "its name",
    "source": "the task of pre-training",
    "model": "its name in the params",
    "target": "the task of fine-tuning",
    "arm": "one way to train on the target, by its name in the params",
    "mode": "finetune, probe, relearn, reconstruct, or pretrain for a source network itself",
    "seed": "the source network; missing: a mean over networks",
    "source_epoch": "of pre-training, after which the run starts; 0 is training from scratch",
    "target_epoch": "of training on the target, at which it was measured",
    "split": "train, validation or test images; validation chooses, test chooses nothing",
    "metric": "what was measured",
    "condition": "measured, or the null or ceiling that stands in for it",
    "value": "the measurement: shares and accuracies from 0 to 1, losses in nats",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "n": "the number that it rests on, such as images, or images × networks",
    "reason": "why a value or an interval is missing, or what speaks against it",
    "device": "cpu, or the GPU's name",
    "shots": "training images per class, or all",
    "draw": "number of the draw of the training images",
    "learning_rate": "of the run, at its highest",
    "role": "which networks are compared",
    "init_epoch": "source epoch of the start as the params name it, such as best",
    "subset": "all images, or those that all compared networks classify right",
    "order": "number of players of the interactions; missing: all orders",
    "variant": "basis and normalisation of the interactions",
    "networks": "source networks in a mean",
    "undefined": "images × networks left out of a mean, for they have no value",
    "random_start": "whether the run starts from random weights",
    "given_weights": "whether the model has weights from elsewhere",
    "target_seed": "number of the run on the target",
    "tokens": "what is read of a block: class token, mean or all tokens",
    "kind": "what inversions start from",
    "form": "debiased or biased CKA",
    "reference_layer": "block that is inverted, counted from 1",
    "layer": "block that is evaluated, counted from 1",
    "intervention": "what was done to the start before it was fine-tuned",
    "rate": "fixed, or tuned on validation images",
    "first_replaced": "of a control, the first block that is replaced",
}


def page() -> str:
    """Return the page."""
    schemas = [resolve(study.columns) for study in STUDIES]
    first = schemas[0]
    shared = {name: kind for name, kind in first.columns.items() if name not in first.own}
    lines = [HEAD, "## In every study", "", *_rows(shared)]
    for schema in schemas:
        lines += ["", f"## Only in {schema.study.replace('_', ' ')}", "", *_rows(schema.own)]
    return "\n".join(lines) + "\n"


def _rows(columns: Mapping[str, str]) -> Iterator[str]:
    yield "| column | holds | meaning |"
    yield "|---|---|---|"
    for name, kind in columns.items():
        yield f"| `{name}` | {KINDS[kind]} | {MEANINGS[name]} |"
