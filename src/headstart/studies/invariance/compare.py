"""Step `invariance`: what the runs from one source network forget, learn and move between layers.

The pretrained network pt of a run is the checkpoint that it started from; for a run from scratch
that is a random network. Networks are compared on images of the target task and on their stored
inversions; nothing is trained or inverted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from headstart.artifacts.files import ArtifactError, read_table, write_table
from headstart.artifacts.keys import Job, derive_seed
from headstart.artifacts.store import Artifact, JobContext
from headstart.metrics.representations.comparison import Comparison, Stir
from headstart.metrics.representations.similarity import rank_reason, subspace_similarity
from headstart.metrics.representations.stir import residual_groups
from headstart.networks.build import fresh_backbone
from headstart.networks.network import late_blocks_replaced
from headstart.statistics.measurements import select
from headstart.studies.invariance.columns import EMBEDDING, OUTCOMES, TABLES, Row
from headstart.studies.invariance.params import Tokens
from headstart.studies.invariance.rows import FORMS, Rows
from headstart.studies.invariance.subject import PRETRAINED, RUN, Subject
from headstart.training.checkpoint_series import Pixels, same_weights


def make(job: Job, context: JobContext) -> Mapping[str, Any]:
    """Write the tables of all runs; those of a finished run survive a kill."""
    subject = Subject(job, context)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for artifact in context.inputs["trajectory"]:
        for name, table in Run(subject, artifact).tables().items():
            parts[name].append(table)
    tables = {name: pd.concat(each, ignore_index=True) for name, each in parts.items()}
    for name, table in tables.items():
        write_table(context.out / f"{name}.parquet", table)
    values = tables["measurements"]["value"]
    undefined = int(values.isna().sum())
    context.log(f"{len(values):,} values, {undefined:,} of them undefined, with the reason beside")
    sizes = {name: len(table) for name, table in tables.items()}
    return {"seed": job.wildcards["seed"], "dtype": "float32", "summary": sizes}


class Run:
    """One run of `trajectory`, compared with the network that it started from."""

    def __init__(self, subject: Subject, artifact: Artifact) -> None:
        self.subject, self.options, self.context = subject, subject.options, subject.context
        names = artifact.manifest["wildcards"]
        self.arm, self.init_epoch, self.target_seed = (names[name] for name in RUN)
        self.mode = artifact.manifest["params"]["trajectory"]["mode"]
        self.reached = subject.checkpoints(artifact)
        self.source_epoch = subject.source.epoch(self.init_epoch)
        self.end = self.reached.epoch(self.options.end)
        last = self.reached.epoch("last")
        reached = {epoch for epoch in self.options.dynamics.epochs if epoch <= last}
        self.epochs = sorted(reached | {self.end})
        self.started = subject.inversions(PRETRAINED, self.init_epoch, "0")
        self.ended = subject.inversions(self.arm, self.init_epoch, self.target_seed)
        self.self_stir: dict[tuple[str, str], Stir] = {}
        self.columns = {
            "study": "invariance",
            **{name: subject.job.wildcards[name] for name in ("source", "model", "target")},
            "arm": self.arm,
            "mode": self.mode,
            "seed": int(subject.job.wildcards["seed"]),
            "source_epoch": self.source_epoch,
            "random_start": self.arm in self.options.scratch,
            "given_weights": subject.model.weights is not None,
            "target_seed": int(self.target_seed),
            "split": self.options.inversions.part,
            "device": self.context.device,
        }

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables of this run, from the last attempt where it was finished there."""
        folder = self.context.state / f"{self.arm}-epoch{self.init_epoch}-run{self.target_seed}"
        last = folder / f"{[*TABLES][-1]}.parquet"
        if not last.exists():
            self._verify_start()
            folder.mkdir(exist_ok=True)
            measured = list(self._measurements())
            rows: dict[str, Iterable[Row]] = {
                "runs": [self._summary(pd.DataFrame(measured))],
                "measurements": measured,
                "residuals": self._residuals(),
                "robustness": self._robustness(),
            }
            for name, tidy in TABLES.items():
                table = tidy([{**self.columns, **row} for row in rows[name]])
                write_table(folder / f"{name}.parquet", table)
        found = {name: read_table(folder / f"{name}.parquet") for name in TABLES}
        self.context.log(self._describe(found["measurements"]))
        return found

    def _verify_start(self) -> None:
        """Compare the run's epoch 0 with what it should start from: weights, bit for bit.

        Raises:
            ArtifactError: the run started elsewhere, or scratch is not what its seed makes.
        """
        start, subject = self.reached.backbone_state(0), self.subject
        where = f"{self.reached.artifact.path}: arm {self.arm!r}"
        if not same_weights(start, subject.source.backbone_state(self.source_epoch)):
            raise ArtifactError(f"{where} did not start from source epoch {self.source_epoch}")
        if self.arm not in self.options.scratch:
            return
        names = [subject.job.wildcards[name] for name in ("source", "model", "seed")]
        seed = derive_seed("initial weights", *names)
        fresh = fresh_backbone(subject.model, subject.shape, seed).state_dict()
        if subject.model.weights is not None or not same_weights(start, fresh):
            raise ArtifactError(f"{where} is said to be scratch, but its start is not random")

    def _summary(self, measured: pd.DataFrame) -> Row:
        """Return how well the run learnt its task, and what speaks against its inversions, at its end.

        `broken_pt` and `broken_ft` are the shares of the cells i ≥ j, over all kinds of seeds, in which
        the data-processing check fails: above 0 it flags the arm.
        """
        ended = select(measured, target_epoch=self.end)
        history = read_table(self.reached.artifact.file("history.parquet"))
        end = history[history["epoch"] == self.end].to_dict("records")[0]
        return {
            "target_epoch": self.end,
            **{name: end[name] for name in OUTCOMES},
            **self._source_accuracies(),
            "images": self.subject.reference.pixels.shape[1],
            "inversion_seeds": len(self.options.inversions.seeds),
            "layers": len(self._start("all").layers),
            **{
                f"broken_{each}": select(ended, metric=f"data_processing_{each}")["value"].mean()
                for each in ("pt", "ft")
            },
        }

    def _source_accuracies(self) -> Row:
        """Return how well the head of pt reads the source's test images from pt, and from this run's end."""
        start, subject = self.source_epoch, self.subject
        networks = {
            "pretrained_source_accuracy": (subject.source, start),
            "source_accuracy": (self.reached, self.end),
        }
        found = {
            name: subject.source_accuracy(series.backbone(epoch), start, series.normalization)
            for name, (series, epoch) in networks.items()
        }
        source = subject.job.wildcards["source"]
        unknown = f"source epoch {start} has no head that was trained on {source} here"
        return {
            **found,
            "source_reason": unknown
            if found["source_accuracy"] != found["source_accuracy"]
            else "",
        }

    def _measurements(self) -> Iterator[Row]:
        readings = self.options.inversions.readings
        for tokens in readings:
            # On the way only the reading that decides is followed.
            for epoch in self.epochs if tokens == readings[0] else [self.end]:
                network = self.subject.pixels(self.reached, epoch, tokens)
                for kind in self.options.inversions.kinds:
                    for row in self._compared(network, epoch, kind):
                        yield {"target_epoch": epoch, "tokens": tokens, "kind": kind, **row}
                for row in self._subspaces(network):
                    yield {"target_epoch": epoch, "tokens": tokens, **row}

    def _compared(self, network: Pixels, epoch: int, kind: str) -> Iterator[Row]:
        tokens, criterion = network.tokens, self.options.convergence
        convergence = {"pt": self.started.convergence(self.source_epoch, tokens, kind, criterion)}
        members = self.subject.members if epoch == self.end else None
        pair = Comparison(
            self.subject.pretrained_stir(self.init_epoch, tokens, kind),
            self._given_start(network, kind, members),
        )
        if epoch in self.ended.epochs:
            convergence["ft"] = self.ended.convergence(epoch, tokens, kind, criterion)
            given_end = [
                self.ended.stir(each, self.subject.reference, epoch, kind, members)
                for each in (self._start(tokens), network)
            ]
            pair = Comparison(pair.pt_given_pt, pair.ft_given_pt, *given_end)
            if epoch == self.end:
                self.self_stir[tokens, kind] = given_end[1]
        rows = Rows(pair, network.layers, convergence, self.options)
        yield from rows.checks(tokens == "all")
        if epoch != self.end:
            yield from rows.diagonal()
            return
        decides = tokens == self.options.inversions.readings[0]
        yield from rows.complete(self._controls(network, kind, self.options.control * decides))

    def _start(self, tokens: Tokens) -> Pixels:
        return self.subject.pixels(self.subject.source, self.source_epoch, tokens)

    def _given_start(self, network: Pixels, kind: str, members: Tensor | None) -> Stir:
        """Return STIR of a network given the one that this run started from."""
        reference = self.subject.reference
        return self.started.stir(network, reference, self.source_epoch, kind, members)

    def _controls(
        self, network: Pixels, kind: str, names: Sequence[str]
    ) -> Iterator[tuple[str, int, Stir]]:
        """Yield networks that are pt but for a part, with its kind and the first block replaced.

        `embedding` is pt behind what this run made of all that comes before its first block.
        """
        start = self._start(network.tokens)

        def stir(backbone: nn.Module) -> Stir:
            return self._given_start(replace(start, backbone=backbone), kind, self.subject.members)

        yield EMBEDDING, 0, stir(late_blocks_replaced(network.backbone, start.backbone, 0))
        for name in names:
            if (other := self._unrelated(name)) is not None:
                for layer in start.layers:
                    late = late_blocks_replaced(start.backbone, other, layer - 1)
                    yield name, layer, stir(late)

    def _unrelated(self, name: str) -> nn.Module | None:
        """Return a backbone that shares nothing with pt; None where this run is itself the one requested."""
        subject = self.subject
        if name == "random":
            names = [subject.job.wildcards[each] for each in ("source", "model", "seed")]
            seed = derive_seed("invariance control", *names)
            backbone = fresh_backbone(subject.model, subject.shape, seed).to(self.context.device)
            return backbone.eval().requires_grad_(False)
        if self.arm in self.options.scratch:
            return None
        for artifact in self.context.inputs["trajectory"]:
            if artifact.manifest["wildcards"]["arm"] in self.options.scratch:
                run = subject.checkpoints(artifact)
                return run.backbone(run.epoch(self.options.end))
        return None

    def _subspaces(self, network: Pixels) -> Iterator[Row]:
        """Yield the similarity of principal subspaces on X, mean over seeds."""
        start, rows = self._start(network.tokens), []
        for x in self.subject.reference.pixels:
            with torch.no_grad():
                pairs = [each.every_layer(x.to(self.context.device)) for each in (start, network)]
            rows.append([self._subspace(*layers) for layers in zip(*pairs, strict=True)])
        for index, layer in enumerate(start.layers):
            values, reasons = zip(*[row[index] for row in rows], strict=True)
            yield {
                "metric": "subspace_similarity",
                "reference_layer": layer,
                "layer": layer,
                "value": float(torch.tensor(values).mean()),
                "n": self.subject.reference.pixels.shape[1],
                "reason": next((reason for reason in reasons if reason), ""),
            }

    def _subspace(self, pt: Tensor, ft: Tensor) -> tuple[float, str | None]:
        count = min(self.options.components, pt[0].numel())
        value = float(subspace_similarity(pt, ft, count))
        if value == value:
            return value, None
        return value, rank_reason(pt, count) or rank_reason(ft, count)

    def _residuals(self) -> Iterator[Row]:
        """Yield self-STIR among images that were inverted well, less well, and so on."""
        inversions, layers = self.options.inversions, self._start("all").layers
        cells = [*product(enumerate(inversions.seeds), enumerate(layers), FORMS)]
        for tokens, kind, network in product(inversions.readings, inversions.kinds, ("pt", "ft")):
            if network == "pt":
                inverted, epoch = self.started, self.source_epoch
                stir = self.subject.pretrained_stir(self.init_epoch, tokens, kind)
            else:
                inverted, epoch, stir = self.ended, self.end, self.self_stir[tokens, kind]
            for (s, seed), (j, layer), form in cells:
                residuals = inverted.residual(epoch, seed, layer, tokens=tokens, kind=kind)
                grams = stir.originals[s, j], stir.own[s, j]
                found = residual_groups(*grams, residuals, self.options.groups, FORMS[form])
                for number, group in enumerate(found):
                    yield {
                        "network": network,
                        "tokens": tokens,
                        "kind": kind,
                        "target_epoch": epoch,
                        "metric": "self_stir",
                        "form": form,
                        "inversion_seed": seed,
                        "layer": layer,
                        "group": number,
                        "residual": group.residual,
                        "value": group.value,
                        "n": group.images,
                        "reason": group.reason or "",
                    }

    def _robustness(self) -> Iterator[Row]:
        """Yield accuracy under corruption at every epoch; reconstruction has no classes."""
        if self.mode == "reconstruct" or not self.options.robustness.corruptions:
            return
        for epoch in self.epochs:
            network = self.reached.classifier(epoch)
            for row in self.subject.corrupted.accuracy(
                network, self.reached.normalization, self.context.device
            ):
                yield {"target_epoch": epoch, **row}

    def _describe(self, table: pd.DataFrame) -> str:
        tokens = self.options.inversions.readings[0]
        end = select(table, target_epoch=self.end, form="debiased", tokens=tokens)
        end = end[end["layer"] == end["reference_layer"]]

        def listed(metric: str) -> str:
            return " ".join(f"{value:.2f}" for value in select(end, metric=metric)["value"])

        return (
            f"{self.arm}, from source epoch {self.source_epoch}, by layer: "
            f"forgetting {listed('forgetting')}, learning {listed('learning')}, "
            f"CKA divergence {listed('cka_divergence')}"
        )
