"""Ask how the headline of a finished study of knowledge depends on masks, players, baseline and probe.

The headline is the share of the pretrained network's Walsh coefficients that fine-tuning preserves: as
measured, by chance (permuted within orders), between two fine-tuning runs, and as an excess, 0 at chance and
1 at two runs. Nothing is trained but probes, and nothing is written.

Run `python benchmarks/headline.py PROJECT MODEL` on a folder with `results/`, such as one in which the
default study has run. All rows are measured in one run, on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.artifacts.files import read_json
from headstart.artifacts.store import Artifact
from headstart.metrics.interactions.resampling import Resampling
from headstart.metrics.interactions.sampled import Design, draw_masks
from headstart.metrics.interactions.scores import subset_scores
from headstart.metrics.interactions.subsets import AllSubsets, LowOrder
from headstart.networks.network import Network
from headstart.steps.sections import model_of, read_task
from headstart.studies.knowledge.compare import collect, measures
from headstart.studies.knowledge.networks import seeded
from headstart.studies.knowledge.params import Analysis, Scores
from headstart.studies.knowledge.shares import Group, conditions, variants
from headstart.studies.knowledge.subjects import choose_subjects, masked_inputs
from headstart.tasks.task import draw_shots
from headstart.training.checkpoint_series import CheckpointSeries
from headstart.training.checkpoints import load

ROLES = {"probe": "probe", "finetuned": "finetune", "second": "again"}
SHOTS, HIDDEN = 20, 64
Tables = Mapping[str, Sequence[Tensor]]
"""Role -> values of every source network [images, subsets]."""
DEFAULT: dict[str, Any] = {"kind": "grid", "rows": 4, "columns": 4, "corners": False, "draw": 10}


def grid(rows: int, **more: Any) -> dict[str, Any]:
    """Return players on a square grid."""
    return {"kind": "grid", "rows": rows, "columns": rows, **more}


class Finished:
    """The networks of a model in a finished project, from the best source epoch."""

    def __init__(self, project: Path, model: str) -> None:
        self.results = project / "results"
        self.values: dict[tuple[str, int], Artifact] = {}
        for path in sorted(
            self.results.glob("values/*/manifest.json"), key=lambda p: p.stat().st_mtime
        ):
            artifact = Artifact(path.parent, read_json(path))
            names = artifact.manifest["wildcards"]
            for role, arm in ROLES.items():
                if (names["model"], names["arm"]) == (model, arm):
                    self.values[role, int(names["seed"])] = artifact
        self.scores: dict[Any, Tensor] = {}
        self.seeds = sorted({seed for _, seed in self.values})
        first = self.values["finetuned", self.seeds[0]]
        self.params = first.manifest["params"]
        target, inputs = first.manifest["wildcards"]["target"], first.manifest["inputs"]
        (data,) = [one for key in inputs if (one := self._input("data", key))]
        self.task = read_task(target, self.params, data)

    def _input(self, step: str, key: str) -> Artifact | None:
        found = [*self.results.glob(f"{step}/*-{key[:12]}/manifest.json")]
        return Artifact(found[0].parent, read_json(found[0])) if found else None

    def kept(self) -> Tables:
        """Return the scores that the study has kept."""

        def read(artifact: Artifact) -> Tensor:
            states = read_json(artifact.file("states.json"))["states"]
            (state,) = [s for s in states if s["init_epoch"] == "best" and s["best"]]
            return load(artifact.file(state["file"]))["values"].double()

        return {role: [read(self.values[role, s]) for s in self.seeds] for role in ROLES}

    def series(self, role: str, seed: int) -> CheckpointSeries:
        """Return the checkpoints of a run."""
        inputs = self.values[role, seed].manifest["inputs"]
        runs = [one for key in inputs if (one := self._input("trajectory", key))]
        (run,) = [one for one in runs if one.manifest["wildcards"]["source_epoch"] == "best"]
        return CheckpointSeries(run, model_of(self.params), self.task.train.images.shape, "cpu")


def headline(tables: Tables, subsets: AllSubsets) -> str:
    """Return share, chance, ceiling and excess of what is preserved, in per cent, with intervals over both."""
    options, generator = Analysis(), seeded("headline")
    change = variants(subsets)["walsh"]
    groups = [
        Group(pre, tuned, pre, subsets.sizes, second=second).map(change)
        for pre, tuned, second in zip(*(tables[role] for role in ROLES), strict=True)
    ]
    wanted = ("null_permuted", "ceiling_second_run")
    found = collect([conditions(group, options, generator, wanted) for group in groups])
    images = len(tables["probe"][0])
    made = measures(found, Resampling(images, 1000, generator, len(groups)), options.room)
    parts = []
    for condition in ("measured", *wanted, "excess_permuted"):
        whole = made["preserved_of_pretrained", condition].at([0]).pooled()
        low, high = whole.interval(options.confidence)[:, 0].tolist()
        text = f"{100 * float(whole.points):5.1f}"
        parts.append(text if condition in wanted else f"{text} [{100 * low:.1f}, {100 * high:.1f}]")
    return "  ".join(f"{part:>20}" for part in parts)


def fitted(tables: Tables, masks: Tensor, order: int) -> tuple[Tables, LowOrder, str]:
    """Return Walsh coefficients of scores of some masks [images, masks], and R² of the mean and the worst network."""
    subsets = LowOrder(masks.shape[1], order, len(masks))
    design = Design(masks, subsets.members.T)
    every = torch.stack([table for role in ROLES for table in tables[role]])
    found = torch.zeros(*every.shape[:2], len(subsets.sizes), dtype=torch.float64)
    parts, terms = [], 0
    for image in range(every.shape[1]):
        fit = design.fit(every[:, image])
        found[:, image, fit.terms] = fit.coefficients
        parts.append(torch.stack([fit.r2 * fit.variance, fit.variance]))
        terms += len(fit.terms) - 1
    explained, whole = torch.stack(parts).nansum(0)
    r2 = explained / whole
    by_role = found.unflatten(0, (len(ROLES), -1))
    said = f"R² {float(r2.mean()):.3f} (least {float(r2.min()):.3f}), {terms / every.shape[1]:.0f} terms"
    return dict(zip(ROLES, by_role, strict=True)), subsets, said


def of_masks(study: Finished) -> None:
    """Print the headline of all masks, and of some."""
    tables = study.kept()
    players = tables["probe"][0].shape[-1].bit_length() - 1
    print(f"{players} players, {len(study.seeds)} networks × {len(tables['probe'][0])} images")
    row("all masks", headline(tables, AllSubsets(players)))
    for share in (2, 4, 8):
        generator = torch.Generator().manual_seed(0)
        masks = draw_masks(players, 2**players // share, generator)
        places = (masks.long() << torch.arange(players)).sum(1)
        some = {role: [table[:, places] for table in of] for role, of in tables.items()}
        for order in (2, 3, 4):
            start = time.perf_counter()
            found, subsets, said = fitted(some, masks, order)
            taken = time.perf_counter() - start
            text = f"{said}, {taken:.1f} s"
            row(f"{len(masks)} masks, order {order}", headline(found, subsets), text)


def row(name: str, numbers: str, note: str = "") -> None:
    """Print one row."""
    print(f"{name:<34}{numbers}  {note}", flush=True)


def linear(decay: float) -> Callable[[int, int], tuple[nn.Module, float]]:
    """Return the maker of a linear probe with a weight decay."""
    return lambda features, classes: (nn.Linear(features, classes), decay)


def hidden(features: int, classes: int) -> tuple[nn.Module, float]:
    """Return a probe with a hidden layer."""
    layers = nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)
    return nn.Sequential(*layers), 1e-3


def probed(study: Finished, series: CheckpointSeries, make: Any) -> nn.Module:
    """Return the frozen backbone of a network under another probe, trained to convergence on its features."""
    torch.manual_seed(0)
    network: Network = series.network(series.best).eval()
    shots = draw_shots(study.task, SHOTS, 0)
    with torch.no_grad():
        features = network.features(series.normalization.apply(shots.images.float()))
    mean, scale = features.mean(0), features.std(0).clamp(min=1e-6)
    head, decay = make(features.shape[1], len(study.task.classes))
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head((features - mean) / scale), shots.labels)
        loss = loss + decay * sum(each.square().sum() for each in head.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)

    class Probed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = network.backbone, head

        def forward(self, images: Tensor) -> Tensor:
            return self.head((self.backbone(images) - mean) / scale)

    return Probed().eval()


def evaluated(study: Finished, options: Scores, probe: Any = None) -> tuple[Tables, Tensor | None]:
    """Return the scores of all networks, of all masks or of those returned."""
    subjects, masks = choose_subjects(options, study.task), None
    if options.masks is not None:
        generator = torch.Generator().manual_seed(0)
        masks = draw_masks(subjects.count, options.masks, generator)
    found: dict[str, list[Tensor]] = {role: [] for role in ROLES}
    for role in ROLES:
        for seed in study.seeds:
            series = study.series(role, seed)
            own = role == "probe" and probe is not None
            place = role, seed, probe if own else None, options.model_dump_json()
            if place not in study.scores:
                network = probed(study, series, probe) if own else series.network(series.best)
                seen = series.normalization
                inputs = masked_inputs(subjects, options.baseline, seen, study.task, "cpu")
                arguments = (subjects.labels, subjects.count, options.chunk_size, None, masks)
                study.scores[place] = subset_scores(network, inputs, *arguments).double()
            found[role].append(study.scores[place])
    return found, masks


def of_choices(study: Finished, images: int) -> None:
    """Print the headline under other players, baselines and probes, one changed at a time."""
    print(f"{len(study.seeds)} networks × {images} images; the first row is the default")
    sampled = {"masks": 1024}
    rows: Iterable[tuple[str, dict[str, Any], int, Any]] = [
        ("10 of 4 × 4, mean, linear", {}, 3, None),
        ("9 players, 3 × 3", {"players": grid(3)}, 3, None),
        ("12 players, 4 × 4 − corners", {"players": grid(4, corners=False), **sampled}, 4, None),
        ("25 players, 5 × 5", {"players": grid(5), **sampled}, 3, None),
        ("49 players, 7 × 7", {"players": grid(7), **sampled}, 2, None),
        ("baseline zero", {"baseline": {"kind": "zero"}}, 3, None),
        ("baseline blurred, 2 pixels", {"baseline": {"kind": "blurred"}}, 3, None),
        ("baseline shifted by 2 σ", {"baseline": {"kind": "shift"}}, 3, None),
        ("probe: linear, decay 1e-1", {}, 3, linear(1e-1)),
        ("probe: linear, decay 1e-4", {}, 3, linear(1e-4)),
        (f"probe: {HIDDEN} hidden units", {}, 3, hidden),
    ]
    for name, change, order, probe in rows:
        start = time.perf_counter()
        options = Scores.model_validate({"images": images, "players": DEFAULT, **change})
        tables, masks = evaluated(study, options, probe)
        subsets, said = AllSubsets(options.players.count), "all masks"
        if masks is not None:
            tables, subsets, said = fitted(tables, masks, order)
            said = f"{len(masks)} masks, order {order}, {said}"
        row(name, headline(tables, subsets), f"{said}, {time.perf_counter() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=16, help="under other choices")
    parser.add_argument("--networks", type=int, default=None, help="of those of the study")
    parser.add_argument("--only", choices=("masks", "choices"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = Finished(arguments.project, arguments.model)
    study.seeds = study.seeds[: arguments.networks]
    headings = ("preserved, %", "by chance", "two runs", "excess, %")
    row("", "  ".join(f"{heading:>20}" for heading in headings))
    if arguments.only != "choices":
        of_masks(study)
    if arguments.only != "masks":
        of_choices(study, arguments.images)


if __name__ == "__main__":
    main()
