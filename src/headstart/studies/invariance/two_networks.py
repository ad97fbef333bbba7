"""`headstart compare`: how similar two given networks are on a folder of images, and what each ignores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from headstart.artifacts.files import write_table
from headstart.artifacts.keys import derive_seed
from headstart.metrics.representations.inversion import InversionOptimizer, invert, seed_images
from headstart.metrics.representations.layer_cka import layer_cka
from headstart.metrics.representations.pairs import (
    by_depth,
    dissimilarities,
    invariance,
    leave_one_out,
    mutual_neighbours,
    neighbours,
    procrustes_grid,
)
from headstart.metrics.representations.similarity import (
    linear_grams,
    rank_reason,
    subspace_similarity,
    unit_grams,
)
from headstart.metrics.representations.transformations import TRANSFORMATIONS
from headstart.networks.network import NetworkError, Tokens
from headstart.statistics.measurements import select
from headstart.studies.invariance.figures.two_networks import draw
from headstart.studies.invariance.given_networks import GivenNetwork, given, require_file
from headstart.tasks import TaskError
from headstart.tasks.image_files import image_files
from headstart.tasks.pictures import look, to_array
from headstart.training.checkpoint_series import Pixels
from headstart.training.device import choose_device, one_thread

Row = dict[str, Any]
FORMS = {"debiased": True, "biased": False}
FEWEST = 8
NEIGHBOURS, COMPONENTS, BATCH = 10, 10, 64
INFLUENCE, BIAS = 0.05, 0.1
"""Changes of CKA, by leaving out one image and by debiasing, that the summary warns of."""


@dataclass(frozen=True)
class Request:
    """What is compared, and how."""

    images: Path
    count: int
    size: int | None
    steps: int
    tokens: Tokens
    out: Path


def compare(names: tuple[str, str], request: Request) -> str:
    """Write tables and figures of a comparison; return its summary for a person.

    Raises:
        NetworkError: a network that cannot be had, or two that do not take the same images.
        TaskError: too few images, or one that does not decode.
    """
    one_thread()
    device = str(choose_device("auto"))
    for name in names:
        require_file(name)
    two = [given(name) for name in names]
    channels, size = common_shape(two, request.size)
    files, pixels = read_images(request.images, request.count, channels, size)
    pixels = pixels.to(device)
    sides = [
        Side(each.name, each.build(channels, size, request.tokens, device), pixels) for each in two
    ]
    comparison = Pair(sides[0], sides[1], files)
    table = pd.DataFrame([*comparison.rows(), *comparison.stir(request.steps)])
    places = [name for name in table.columns if "layer" in name or name.startswith("width")]
    table[places] = table[places].astype("Int64")  # of STIR there are other layers than of the rest
    ignored = pd.DataFrame([row for side in sides for row in side.transformations()])
    request.out.mkdir(parents=True, exist_ok=True)
    for name, each in (("similarity", table), ("transformations", ignored)):
        write_table(request.out / f"{name}.parquet", each)
    draw(table, ignored, request.out)
    return comparison.summary(table, request.out)


def common_shape(networks: Sequence[GivenNetwork], size: int | None) -> tuple[int, int]:
    """Return channels and side of the images that both networks take."""
    found: list[int] = []
    for what, asked in (("channels", None), ("size", size)):
        known = {each.name: getattr(each, what) for each in networks}
        values = {value for value in known.values() if value} if asked is None else {asked}
        if len(values) > 1:
            takes = ", ".join(f"{name} {value}" for name, value in known.items())
            fix = "; say which with --size" if what == "size" else ""
            raise NetworkError(f"two networks take different images: {what} of {takes}{fix}")
        if not values and what == "size":
            raise NetworkError("neither network says the side of its images; say it with --size")
        found.append(values.pop() if values else 3)
    return found[0], found[1]


def read_images(folder: Path, count: int, channels: int, size: int) -> tuple[list[str], Tensor]:
    """Return names and pixels in [0, 1] of images of a folder, and of those below it, drawn by its names."""
    if not folder.is_dir():
        raise TaskError(f"--images {folder}: no such folder")
    files = image_files(folder)
    if count < FEWEST or len(files) < count:
        raise TaskError(
            f"--images {folder}: {count} images are requested, {FEWEST} or more are needed, and the folder "
            f"has {len(files)}; say how many with --count"
        )
    generator = torch.Generator().manual_seed(derive_seed("compare images"))
    files = [files[i] for i in torch.randperm(len(files), generator=generator)[:count].tolist()]
    arrays = [torch.from_numpy(to_array(look(f)[1], channels, size, "crop").copy()) for f in files]
    return [str(f.relative_to(folder)) for f in files], torch.stack(arrays).float() / 255


class Side:
    """One of the networks, with what it makes of the images."""

    def __init__(self, name: str, network: Pixels, images: Tensor) -> None:
        self.name, self.network, self.images = name, network, images
        self.features = self.of(images)

    def of(self, images: Tensor) -> list[Tensor]:
        """Return what is read of all layers."""
        with torch.no_grad():
            parts = [self.network.every_layer(part) for part in images.split(BATCH)]
        return [torch.cat(layer).flatten(1) for layer in zip(*parts, strict=True)]

    @property
    def widths(self) -> list[int]:
        """Return the number of features of every layer."""
        return [layer.shape[1] for layer in self.features]

    @cached_property
    def grams(self) -> Tensor:
        """Return the Grams of all layers, centred."""
        return linear_grams(self.features)

    def inverted(self, steps: int) -> Iterator[tuple[int, Tensor, float]]:
        """Yield every layer with images that it cannot tell from the originals, and their residual.

        The median over images, relative to the distance of other images.
        """
        generator = torch.Generator().manual_seed(derive_seed("compare inversion"))
        seeds = seed_images(self.images, "noise", generator)
        optimizer = InversionOptimizer(steps, 0.1, "adam", decay=True)
        for layer in self.network.layers:
            represent = self.network.until(layer)
            with torch.no_grad():
                targets = torch.cat([represent(part) for part in self.images.split(BATCH)])
            found = invert(represent, targets, seeds, optimizer, BATCH)
            yield layer, found.images, float((found.residual / found.other_residual).median())

    def transformations(self) -> Iterator[Row]:
        """Yield how far every layer ignores each transformation; layer 0 is the pixels themselves."""
        for name, transform in TRANSFORMATIONS.items():
            moved = transform(self.images)
            layers = zip([self.images, *self.features], [moved, *self.of(moved)], strict=True)
            for layer, (x, y) in enumerate(layers):
                value = float(invariance(x, y))
                place = {"network": self.name, "layer": layer, "transformation": name}
                yield {**place, "value": value, "n": len(x)}


@dataclass(frozen=True)
class Pair:
    """Two networks on the same images."""

    one: Side
    other: Side
    files: list[str]

    @property
    def images(self) -> int:
        """Return how many images there are."""
        return len(self.files)

    def rows(self) -> Iterator[Row]:
        """Yield every measure but STIR, layer by layer, beside that of images that do not belong together."""
        one, other = self.one, self.other
        order = torch.randperm(self.images, generator=torch.Generator().manual_seed(0))
        order = order.to(one.images.device)
        mixed, grams = (
            [layer[order] for layer in other.features],
            other.grams[:, order][:, :, order],
        )
        for form, debiased in FORMS.items():
            cka = [layer_cka(one.features, ys, debiased) for ys in (other.features, mixed)]
            for row, (i, j) in zip(self._cells("cka", cka, form), self._places(), strict=True):
                yield row | self._influence(i, j, debiased, row["value"])
        procrustes = (procrustes_grid(one.grams, each) for each in (other.grams, grams))
        yield from self._cells("procrustes", procrustes)
        x = dissimilarities(one.features)
        rsa = (x @ dissimilarities(each).T for each in (other.features, mixed))
        yield from self._cells("rsa", rsa)
        k = min(NEIGHBOURS, self.images // 2)
        near = neighbours(one.features, k)
        knn = (mutual_neighbours(near, neighbours(each, k)) for each in (other.features, mixed))
        yield from self._cells("mutual_knn", knn)
        yield from self._subspaces()

    def _places(self) -> list[tuple[int, int]]:
        return [(i, j) for i in range(len(self.one.widths)) for j in range(len(self.other.widths))]

    def _cells(self, metric: str, grids: Iterable[Tensor], form: str = "") -> Iterator[Row]:
        found, mixed = grids
        for i, j in self._places():
            yield self._cell(metric, i, j, form) | {
                "value": float(found[i, j]),
                "unrelated": float(mixed[i, j]),
            }

    def _cell(self, metric: str, i: int, j: int, form: str = "") -> Row:
        return {
            "one": self.one.name,
            "other": self.other.name,
            "metric": metric,
            "form": form,
            "layer_one": i + 1,
            "layer_other": j + 1,
            "n": self.images,
            "width_one": self.one.widths[i],
            "width_other": self.other.widths[j],
            "reason": "",
        }

    def _influence(self, i: int, j: int, debiased: bool, cka: float) -> Row:
        """Return CKA without the image that changes it most, and which image that is."""
        without = leave_one_out(self.one.grams[i], self.other.grams[j], debiased)
        change = (without - cka).abs().nan_to_num(-1)
        most = int(change.argmax())
        return {"without_one": float(without[most]), "image": self.files[most]}

    def _subspaces(self) -> Iterator[Row]:
        """Yield the similarity of principal subspaces at equal depth, where features are as many."""
        k = min(COMPONENTS, self.images - 1, *self.one.widths, *self.other.widths)
        for i, j in by_depth(len(self.one.widths), len(self.other.widths)):
            x, y = self.one.features[i], self.other.features[j]
            row = self._cell("subspace_similarity", i, j)
            if x.shape != y.shape:
                yield row | {
                    "reason": f"{x.shape[1]} and {y.shape[1]} features have no common directions"
                }
                continue
            # Of directions drawn at random.
            row |= {"value": float(subspace_similarity(x, y, k)), "unrelated": k / x.shape[1]}
            yield row | {"reason": rank_reason(x, k) or rank_reason(y, k) or ""}

    def stir(self, steps: int) -> Iterator[Row]:
        """Yield STIR of each network given the other and given itself; the reference is the one inverted."""
        if not steps:
            return
        both = (self.one, self.other)
        units = [
            {form: unit_grams(side.grams, yes) for form, yes in FORMS.items()} for side in both
        ]
        for reference in both:
            for layer, images, residual in reference.inverted(steps):
                for target, unit in zip(both, units, strict=True):
                    grams = linear_grams(target.of(images))
                    for form, debiased in FORMS.items():
                        found = (unit_grams(grams, debiased) * unit[form]).sum(1)
                        yield from self._stir(reference, target, layer, found, form, residual)

    def _stir(
        self, reference: Side, target: Side, layer: int, found: Tensor, form: str, residual: float
    ) -> Iterator[Row]:
        names = {id(self.one): "one", id(self.other): "other"}
        metric = f"stir_{names[id(target)]}_given_{names[id(reference)]}"
        for evaluated, value in enumerate(found.tolist(), start=1):
            yield {
                "one": self.one.name,
                "other": self.other.name,
                "metric": metric,
                "form": form,
                "n": self.images,
                "reason": "",
                "reference_layer": layer,
                "layer": evaluated,
                "value": value,
                "residual": residual,
            }

    def summary(self, table: pd.DataFrame, out: Path) -> str:
        """Return the values at equal depth, and what speaks against them."""
        places = by_depth(len(self.one.widths), len(self.other.widths))
        lines = [
            f"{self.images} images; tables and figures in {out}",
            "layers      CKA debiased (biased)",
        ]
        warnings = []
        for i, j in places:
            cell = select(table, metric="cka", layer_one=i + 1, layer_other=j + 1)
            fair, biased = (select(cell, form=form).iloc[0] for form in FORMS)
            lines.append(f"{i + 1:3d} {j + 1:3d}     {fair['value']:6.3f} ({biased['value']:.3f})")
            if abs(biased["value"] - fair["value"]) > BIAS:
                wide = max(biased["width_one"], biased["width_other"])
                warnings.append(
                    f"layers {i + 1} and {j + 1}: biased CKA is {biased['value']:.2f}, debiased {fair['value']:.2f}, "
                    f"of {self.images} images with up to {wide} features; read the debiased form, or more images"
                )
            if abs(biased["without_one"] - biased["value"]) > INFLUENCE:
                warnings.append(
                    f"layers {i + 1} and {j + 1}: biased CKA is {biased['value']:.2f}, but "
                    f"{biased['without_one']:.2f} without {biased['image']}; look at that image"
                )
        if "residual" in table and (worst := table["residual"].max()) > INFLUENCE:
            warnings.append(
                f"inversions are unfinished: at one layer the median residual is {worst:.2f} of the distance to "
                "other images, so that STIR there is too low; use more --steps"
            )
        return "\n".join([*lines, *(f"warning: {each}" for each in warnings)])
