"""The section `knowledge`: which interactions fine-tuning preserves, discards and learns."""

from __future__ import annotations

from math import comb
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headstart.params.types import (
    Count,
    Fraction,
    Name,
    Natural,
    Positive,
    Section,
    Sha256,
    TrajectoryEpoch,
    located,
    no_boolean,
)

MAX_PLAYERS = 16
Several = Annotated[int, BeforeValidator(no_boolean), Field(ge=2)]
Cell = tuple[Natural, Natural]


class GridPlayers(Section):
    """Players are cells of a grid over the image, the same for all images."""

    kind: Literal["grid"]
    rows: Count = 4
    columns: Count = 4
    margin: Natural = Field(default=0, description="outer rings of cells that are no players")
    corners: bool = Field(default=True, description="false: corner cells are no players")
    cells: tuple[Cell, ...] = Field(
        default=(), description="(row, column) of each player, in place of margin and corners"
    )
    draw: Count | None = Field(
        default=None, description="so many of the cells, at random by the task's name; null: all"
    )

    @model_validator(mode="after")
    def _cells(self) -> GridPlayers:
        outside = [c for c in self.cells if c[0] >= self.rows or c[1] >= self.columns]
        if outside or len(set(self.cells)) < len(self.cells):
            raise ValueError(
                f"cells {[list(c) for c in self.cells]}: each belongs there once, within "
                f"{self.rows} rows and {self.columns} columns"
            )
        if self.draw is not None and self.draw > self.available:
            raise ValueError(f"draw {self.draw}: the grid offers {self.available} cells")
        if not self.available:
            raise ValueError("the grid offers no player: give a narrower margin, or more cells")
        return self

    @property
    def count(self) -> int:
        """The number of players, n."""
        return self.draw or self.available

    @property
    def available(self) -> int:
        """The number of cells that may be players."""
        return len(self.offered)

    @property
    def offered(self) -> tuple[Cell, ...]:
        """The cells that may be players, row by row."""
        if self.cells:
            return self.cells
        rows, columns = (range(self.margin, n - self.margin) for n in (self.rows, self.columns))
        edges = {*rows[:1], *rows[-1:]}, {*columns[:1], *columns[-1:]}
        return tuple(
            (row, column)
            for row in rows
            for column in columns
            if self.corners or row not in edges[0] or column not in edges[1]
        )


class MaskPlayers(Section):
    """Players are parts that somebody drew: a segmentation map for each of the images to evaluate.

    The safetensors file holds `positions` [images], which test images of the target in the order of
    its dataset, and `segmentation` [images, height, width] with the numbers 1 … n of the players.
    """

    kind: Literal["masks"]
    path: str = located("a safetensors file")
    sha256: Sha256
    players: Count

    @property
    def count(self) -> int:
        """The number of players, n."""
        return self.players


class Baseline(Section):
    """What a hidden pixel shows."""

    kind: Literal["mean", "zero", "blurred", "shift", "learned"] = Field(
        default="mean",
        description="mean: the mean pixel of the target's training images; zero: that of the "
        "source's, as networks see it; shift: the pixel moved towards the mean",
    )
    deviation: Positive = Field(default=2.0, description="blurred: of the Gaussian, pixels")
    distance: Positive = Field(
        default=2.0, description="shift: τ, standard deviations of the source's pixels"
    )
    path: str | None = located(
        "learned: a safetensors file with `baseline`, as networks see it", default=None
    )
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _file(self) -> Baseline:
        if (self.kind == "learned") != (self.path is not None and self.sha256 is not None):
            raise ValueError(
                "baseline: `path` and `sha256` belong to kind learned, and to it alone"
            )
        return self


class Salience(Section):
    """Which interactions count as salient: |I(S)| > τ = fraction · max |I|."""

    fraction: Annotated[float, BeforeValidator(no_boolean), Field(ge=0, lt=1)] = 0.05
    scope: Literal["model", "sample"] = Field(
        default="model", description="the maximum over all images, or within each"
    )


class Arm(Section):
    """An arm of `trajectory`, of the same model or of another."""

    arm: Name
    model: Name | None = Field(
        default=None, description="another model, such as the same architecture without weights"
    )


class Scores(Section):
    """What decides v(x_T), the score of every masked image."""

    images: Several = Field(default=100, description="test images, balanced over classes")
    players: Annotated[GridPlayers | MaskPlayers, Field(discriminator="kind")] = GridPlayers(
        kind="grid", corners=False
    )
    baseline: Baseline = Baseline()
    chunk_size: Count = Field(default=256, description="masked images per forward pass")
    masks: Several | None = Field(
        default=None,
        description="so many of the 2^n masks, drawn at random, from which Walsh coefficients of low "
        f"order are fitted; null: all, of at most {MAX_PLAYERS} players",
    )
    repeat_images: Natural = Field(
        default=4, description="evaluated again with a third of the chunk size: the noise floor"
    )

    @model_validator(mode="after")
    def _masks(self) -> Scores:
        n = self.players.count
        if self.masks is None and n > MAX_PLAYERS:
            raise ValueError(
                f"{n} players have 2^{n} masked inputs: give `masks` so many of them, such as 2000, or at "
                f"most {MAX_PLAYERS} players, by a coarser grid, a wider margin or `draw`"
            )
        if self.masks is not None and not 40 <= self.masks <= 2**n:
            possible = 2**n if n <= MAX_PLAYERS else f"2^{n}"
            raise ValueError(
                f"masks {self.masks}: {n} players have {possible}; give 40 to {possible}"
            )
        return self


class Analysis(Section):
    """What is computed from the scores, and how."""

    salience: Salience = Salience()
    filter: Literal["none", "either", "both"] = Field(
        default="none", description="interactions that are not salient in either, or both, are 0"
    )
    permutations: Count = Field(default=8, description="draws of each null that is drawn")
    headline: Literal["walsh", "normalised"] = Field(
        default="walsh",
        description="what claims are evaluated on and figures show: Walsh coefficients or, normalised "
        "alike, AND interactions",
    )
    room: Fraction = Field(
        default=0.1,
        description="a ceiling less than this above chance leaves no room for a verdict",
    )
    resamples: Count = Field(default=1000, description="of images and networks, for the intervals")
    confidence: Fraction = Field(default=0.95, description="of the intervals")
    seed: Natural = 0
    counterfactual: bool = True
    max_order: Count = Field(
        default=3, description="of the coefficients that are fitted to some `masks`"
    )
    least_r2: Fraction = Field(
        default=0.9,
        description="share of the variance over masks that a fit never saw which the coefficients must "
        "explain; below it, claims are undetermined",
    )
    and_or: bool = Field(default=False, description="also split scores into AND and OR: slow")
    residual: Annotated[float, BeforeValidator(no_boolean), Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="of |v(N) − v(∅)|: what AND and OR may leave of a score; published .02 to .04",
    )


class Knowledge(Scores, Analysis):
    """The networks of one model that are compared, on which images, and how."""

    finetuned: Name = Field(default="finetune", description="arm that fine-tunes")
    second: Name | None = Field(
        default=None,
        description="arm that fine-tunes the same checkpoints once more, the ceiling; "
        "null: the further `target_seeds` of `finetuned`",
    )
    probe: Name = Field(default="probe", description="arm of mode probe: the pretrained network")
    scratch: Arm = Field(default=Arm(arm="scratch"), description="from source epoch 0")
    second_scratch: Name | None = Field(
        default=None,
        description="arm of the same model that trains from scratch once more; null: the further "
        "`target_seeds` of `scratch`",
    )
    random_probe: Arm = Field(
        default=Arm(arm="probe"),
        description="a probe of source epoch 0, on a random backbone: the null",
    )
    targets: tuple[Name, ...] = Field(default=(), description="none: all of `finetuned`")
    seeds: tuple[Natural, ...] = Field(default=(), description="none: all of `finetuned`")
    source_epochs: tuple[TrajectoryEpoch, ...] = Field(
        default=(), description="source epochs to compare; none: all of `finetuned`"
    )
    followed: tuple[TrajectoryEpoch, ...] = Field(
        default=(), description="source epochs whose learning dynamics are measured; none: all"
    )
    target_epochs: tuple[Natural, ...] = Field(
        default=(), description="epochs of the learning dynamics; none: all that `finetuned` keeps"
    )

    @model_validator(mode="after")
    def _sampled(self) -> Knowledge:
        n = self.players.count
        terms = sum(comb(n, order) for order in range(self.max_order + 1))
        if self.masks is not None and terms > 2**MAX_PLAYERS:
            raise ValueError(
                f"max_order {self.max_order}: {n} players have {terms:,} subsets of that order or less, "
                f"{2**MAX_PLAYERS:,} are possible; give a lower one"
            )
        if self.masks is not None and self.and_or:
            raise ValueError(
                "and_or: AND and OR are told apart by all 2^n masks: leave out `masks`"
            )
        return self


SECTIONS: dict[str, Any] = {"knowledge": (dict[Name, Knowledge], Field(default_factory=dict))}
