"""Step `joined`: all that the three studies measure of a start, on the same runs from it, and one intervention.

Every start is fine-tuned twice at the fixed rate, in two orders of the images, and once on random labels.
What is preserved, forgotten and learnt is read off the networks after the last epoch, on test images, which
choose nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import torch

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import Job
from headstart.artifacts.store import JobContext
from headstart.metrics import InversionOptimizer, walsh
from headstart.metrics.interactions.transform import without_empty_set
from headstart.networks.build import fresh_backbone, new_head
from headstart.networks.network import Network
from headstart.studies.joined.interventions import (
    REMOVALS,
    preserved_part,
    repairs,
    retrained,
    scores_without,
    taken,
)
from headstart.studies.joined.measures import (
    Found,
    Table,
    barrier,
    features_of,
    interactions,
    kept_invariances,
    kept_knowledge,
    plasticity,
    refreshed_accuracy,
    scores,
    still_there,
    tidy,
)
from headstart.studies.joined.params import Intervention
from headstart.studies.joined.source_network import (
    FIRST,
    RANDOM_LABELS,
    SECOND,
    Ended,
    Masked,
    Planned,
    SourceNetwork,
)
from headstart.training.evaluation import evaluate
from headstart.training.interventions import batch_norms, recalibrate

SCRATCH = 0
Row = dict[str, Any]
Runs = Mapping[tuple[int, str], Ended]


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Measure every start of one source network and write one row per measurement."""
    network = SourceNetwork(job, context)
    epochs = (SCRATCH, *network.options.source_epochs)
    context.log(
        f"{context.device}, {len(epochs)} starts, fixed learning rate "
        f"{network.options.fixed_rate:g}, {len(network.images.train.labels)} training images"
    )
    starts = {epoch: network.start(epoch) for epoch in epochs}
    runs = network.train(_planned(network, starts))
    measured = Measured(network, starts, runs)
    rows = [row for epoch in epochs for row in measured.rows(epoch)]
    if network.options.intervention:
        rows += measured.intervened(network.options.intervention)
    table = pd.DataFrame(rows)
    write_table(context.out / "joined.parquet", table)
    undefined = int(table["value"].isna().sum())
    context.log(f"{len(table)} measurements, {undefined} of them undefined, with the reason beside")
    return {
        "seed": job.wildcards["seed"],
        "dtype": network.training.precision,
        "summary": {"measurements": len(table), "undefined": undefined},
    }


def _planned(
    network: SourceNetwork, starts: Mapping[int, Network]
) -> dict[tuple[int, str], Planned]:
    """Return the runs of all starts at the fixed rate."""
    rate = network.options.fixed_rate
    images = {FIRST: network.images, SECOND: network.images, RANDOM_LABELS: network.unlearnable}
    return {
        (epoch, order): Planned(start, images[order], order, rate)
        for epoch, start in starts.items()
        for order in images
    }


class Measured:
    """What is read off the starts of one source network and off the runs from them."""

    def __init__(self, network: SourceNetwork, starts: Mapping[int, Network], runs: Runs) -> None:
        self.network, self.starts, self.runs = network, starts, runs
        self.options = network.options
        self.known = network.heads({e: start for e, start in starts.items() if e != SCRATCH})
        self.tuned = network.tuned_rates()
        self.shown = network.masked(network.task.test, self.options.images, "interactions")
        self.generator = torch.Generator().manual_seed(network.seed("chance"))

    def rows(self, epoch: int) -> Iterator[Row]:
        """Yield one row for each measure of one start."""
        found = {
            **self._accuracies(epoch),
            **self._knowledge(epoch),
            **self._invariances(epoch),
            **plasticity(self.starts[epoch], self.shown.images, self.shown.labels),
            **self._training(epoch),
            **self._source(epoch),
        }
        for metric, value, reason in tidy(found):
            yield _row(epoch, metric, value, reason)

    def intervened(self, chosen: Intervention) -> Iterator[Row]:
        """Yield accuracies after each intervention on one start, and how much of its knowledge each leaves."""
        epoch = chosen.source_epoch
        changed, removed = self._changed(epoch, chosen)
        for name, found in removed.items():
            yield from (_row(epoch, *each, name) for each in tidy(found))
        start = interactions(self._scores(self.known[epoch]))
        # Repaired starts have statistics of the target's images; this one has them, too, and nothing else.
        again = {"recalibrated": self._refreshed(copy.deepcopy(self.starts[epoch]))}
        for name, network in self.network.heads({**changed, **again}).items():
            left = interactions(self._scores(network))
            value = still_there(start, left, self.options.permutations, self.generator)
            yield from (_row(epoch, *each, name) for each in tidy({"knowledge_left": value}))
        yield from self._after(epoch, changed, chosen)

    def _changed(
        self, epoch: int, chosen: Intervention
    ) -> tuple[dict[str, Network], dict[str, Found]]:
        """Return a start after every intervention, with the head of all runs, and what each removal took."""
        network = self.network
        shown = network.masked(network.images.train, chosen.images, "removal")
        known, tuned = self.known[epoch], self.runs[epoch, FIRST].network
        both = [scores(each, *self._of(shown)) for each in (known, tuned)]
        wanted = scores_without(both[0], both[1], self.generator)
        before, after = (self._scores(each) for each in (known, tuned))
        known_of = without_empty_set(walsh(before))
        parts = {"preserved_taken": preserved_part(before, after), "knowledge_taken": known_of}
        changed, removed = {"untouched": self.starts[epoch]}, {}
        for name in REMOVALS:
            generator = torch.Generator().manual_seed(network.seed("removal"))
            changed[name], fitted = retrained(
                known, *self._of(shown), wanted[name], chosen, generator
            )
            now = self._scores(changed[name])
            removed[name] = {each: taken(part, before, now) for each, part in parts.items()}
            removed[name]["regression_r2"] = fitted
        shape = network.task.train.images.shape
        fresh = fresh_backbone(network.model, shape, network.seed("fresh"))
        repaired = repairs(self.starts[epoch], self.starts[SCRATCH], fresh, chosen)
        changed |= {name: self._refreshed(each) for name, each in repaired.items()}
        for name in REMOVALS:
            new_head(changed[name], len(network.task.classes), network.job.params["head_seed"])
        return changed, removed

    def _refreshed(self, start: Network) -> Network:
        """Estimate statistics of batch normalisation on the target's training images, in place."""
        start.to(self.network.context.device)
        if batch_norms(start):
            recalibrate(start, self.network.training_batches().epoch(0))
        return start

    def _after(
        self, epoch: int, changed: Mapping[str, Network], chosen: Intervention
    ) -> Iterator[Row]:
        """Yield accuracies after the last epoch of runs from every changed start, and of the same with fresh statistics."""
        rates = {"fixed": self.options.fixed_rate}
        if chosen.tuned:
            rates["tuned"] = self.tuned[epoch][0]
        images = self.network.images
        runs = self.network.train(
            {
                (name, at): Planned(start, images, FIRST, rate)
                for name, start in changed.items()
                for at, rate in rates.items()
            }
        )
        for (name, at), ended in runs.items():
            last = ended.outcome.history[-1]
            yield _row(epoch, "accuracy", float(last.test_accuracy or 0.0), "", name, at)
            yield _row(epoch, "validation_accuracy", last.validation_accuracy, "", name, at)
        for at in rates:
            network = runs["untouched", at].network
            train, held = self.network.training_batches(), self.network.held_batches()
            for metric, batches in zip(("validation_accuracy", "accuracy"), held, strict=True):
                value = refreshed_accuracy(network, train, batches)
                yield _row(epoch, metric, value, "", "recalibrated", at)

    def _accuracies(self, epoch: int) -> dict[str, float]:
        """Return accuracies at both rates, and gains over tuned scratch in points."""
        scratch = self.tuned[SCRATCH][1]
        rate, tuned = self.tuned[epoch]
        fixed = [self.runs[epoch, order].accuracy for order in (FIRST, SECOND)]
        mean = sum(fixed) / len(fixed)
        return {
            "tuned_rate": rate,
            "accuracy_tuned": tuned,
            "accuracy_fixed": mean,
            "gain_tuned": 100 * (tuned - scratch),
            "gain_fixed": 100 * (mean - scratch),
            "between_runs": 100 * (fixed[0] - fixed[1]),
        }

    def _knowledge(self, epoch: int) -> dict[str, float]:
        """Return what is kept of a start's interactions; scratch has none to keep."""
        if epoch == SCRATCH:
            return {}
        start, tuned, again = (
            interactions(self._scores(network))
            for network in (
                self.known[epoch],
                self.runs[epoch, FIRST].network,
                self.runs[epoch, SECOND].network,
            )
        )
        return kept_knowledge(start, tuned, again, self.options.permutations, self.generator)

    def _invariances(self, epoch: int) -> dict[str, float]:
        """Return what is kept of a start's invariances; chance is what the network from scratch has of them."""
        if epoch == SCRATCH:
            return {}
        normalization, given = self.network.normalization, self.options.inversions
        start, tuned, unrelated = (
            features_of(network, normalization)
            for network in (
                self.starts[epoch],
                self.runs[epoch, FIRST].network,
                self.runs[SCRATCH, FIRST].network,
            )
        )
        optimizer = InversionOptimizer(given.steps, given.step_size, "adam", decay=True)
        generator = torch.Generator().manual_seed(self.network.seed("inversions"))
        images = self.network.unit_pixels(given.images)
        return kept_invariances(start, tuned, unrelated, images, optimizer, generator)

    def _training(self, epoch: int) -> dict[str, float]:
        """Return how well the start fits random labels at the fixed rate, and the barrier between its two runs."""
        one, other, random = (self.runs[epoch, order] for order in (FIRST, SECOND, RANDOM_LABELS))
        train, (_, test) = self.network.training_batches(), self.network.held_batches()
        return {
            "random_label_accuracy": random.outcome.history[-1].train_accuracy,
            "barrier": barrier(one.network, other.network, train, test),
        }

    def _source(self, epoch: int) -> dict[str, float]:
        """Return the checkpoint's accuracy on source validation images, as it is and with fresh statistics."""
        held, train = self.network.source_batches()
        network = self.network.series.network(epoch)
        return {
            "source_accuracy": evaluate(network, held).accuracy,
            "source_accuracy_fresh": refreshed_accuracy(network, train, held),
        }

    def _scores(self, network: Network) -> Table:
        return scores(network, *self._of(self.shown))

    def _of(self, shown: Masked) -> tuple[Any, Any, Any]:
        return shown.images, shown.labels, self.network.players


def _row(
    epoch: int, metric: str, value: float, reason: str, intervention: str = "", rate: str = ""
) -> Row:
    return {
        "source_epoch": epoch,
        "intervention": intervention,
        "rate": rate,
        "metric": metric,
        "value": value,
        "reason": reason,
    }
