"""The section `models`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headstart.params.types import (
    Count,
    Fraction,
    Positive,
    Section,
    Sha256,
    Share,
    located,
    no_boolean,
)


class Pixels(Section):
    """How the pixels were normalised that given weights were trained on, white = 1."""

    mean: Share | tuple[Share, ...]
    deviation: Positive | tuple[Positive, ...]

    @model_validator(mode="after")
    def _channels(self) -> Pixels:
        lengths = {len(each) for each in (self.mean, self.deviation) if isinstance(each, tuple)}
        if lengths - {1, 3} or len(lengths) > 1:
            raise ValueError(
                "mean and deviation are one number for all channels, or 1 or 3 of them"
            )
        return self


class Weights(Section):
    """Weights to start from instead of random ones; their content is part of every key."""

    path: str | None = located(
        "a safetensors file, or a state dict that torch saved; null: those of `package` or of the "
        "timm tag",
        default=None,
    )
    package: str | None = located(
        "an installed Python package that holds the one file", default=None
    )
    sha256: Sha256
    in_order: bool = Field(
        default=False,
        description="the names are another implementation's: tensors are taken in the order in "
        "which torch saved them, and must have the network's shapes",
    )
    pixels: Pixels | None = Field(
        default=None, description="null: the source's training images give them"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if self.path is not None and self.package is not None:
            raise ValueError(f"path {self.path!r} and package {self.package!r}: give one of them")
        return self


class ConvNet(Section):
    """A small convolutional network with batch normalisation: three stages, global average pooling."""

    kind: Literal["convnet"]
    width: Count = 16
    weights: Weights | None = None


class WideResNet(Section):
    """WRN-depth-width (Zagoruyko & Komodakis 2016), for 32 × 32 images; depth = 6 n + 4."""

    kind: Literal["wrn"]
    depth: Count = 28
    width: Count = 10
    dropout: Annotated[float, BeforeValidator(no_boolean), Field(ge=0, lt=1)] = 0.0
    norm_momentum: Fraction = Field(
        default=0.1,
        description="share of the newest batch in running statistics (Keras: 1 - momentum)",
    )
    norm_scale: Literal["one", "uniform"] = Field(
        default="one", description="first scale of norms; uniform: between -0.05 and 0.05"
    )
    weights: Weights | None = None

    @model_validator(mode="after")
    def _depth(self) -> WideResNet:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth {self.depth} is not 6 n + 4 (10, 16, 22, 28, 40, …)")
        return self


class Timm(Section):
    """Any timm model by name and keyword arguments."""

    kind: Literal["timm"]
    name: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    weights: Weights | None = None


class OwnNetwork(Section):
    """A user's own network: `path` is a Python file, `function` in it makes the module."""

    kind: Literal["file"]
    path: str = located("a Python file")
    function: str
    sha256: Sha256
    kwargs: dict[str, Any] = Field(default_factory=dict)
    weights: Weights | None = None


Model = Annotated[ConvNet | WideResNet | Timm | OwnNetwork, Field(discriminator="kind")]
