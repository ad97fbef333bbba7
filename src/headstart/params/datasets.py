"""The sections `datasets` and `tasks`."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from headstart.params.types import (
    Ascending,
    Count,
    Fraction,
    Name,
    Natural,
    NonNegative,
    Section,
    Sha256,
    located,
)

# One spelling in Unicode, in which image folders have the names of their classes, too.
ClassName = Annotated[str, AfterValidator(lambda name: unicodedata.normalize("NFC", name))]


Alphabet = Literal[
    "latin",
    "cyrillic",
    "greek",
    "latin_small",
    "greek_small",
    "numerals",
    "armenian",
    "armenian_small",
    "georgian",
    "hebrew",
    "arabic",
    "ethiopic",
    "cherokee",
    "tifinagh",
    "devanagari",
    "bengali",
    "tamil",
    "thai",
    "lao",
    "khmer",
    "hiragana",
    "katakana",
]


class Fonts(Section):
    """Typefaces to draw letters with, files that end in .ttf or .otf; their content is part of every key."""

    path: str | None = located("a folder, with those inside it", default=None)
    package: str | None = located("an installed Python package that holds some", default=None)
    sha256: Sha256 | None = Field(
        default=None, description="content, written by `headstart data add`"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Fonts:
        if (self.path is None) == (self.package is None):
            raise ValueError(f"path {self.path!r} and package {self.package!r}: give one of them")
        return self


class Glyphs(Section):
    """Letters drawn from typefaces; families of typefaces for testing are never trained on."""

    kind: Literal["glyphs"]
    size: Count = 16
    train_per_class: Count = 100
    test_per_class: Count = 25
    alphabets: tuple[Alphabet, ...] = Field(default=("latin", "cyrillic"), min_length=1)
    fonts: Fonts | None = Field(default=None, description="null: those that ship with matplotlib")
    rotation: NonNegative = Field(default=15.0, description="largest rotation, degrees")
    shear: NonNegative = Field(default=0.2, description="largest horizontal shear, as a slope")
    scale: Ascending = Field(default=(0.7, 1.0), description="smallest and largest scale")
    shift: NonNegative = Field(
        default=0.08, description="largest shift, as a fraction of the image side"
    )
    noise: NonNegative = Field(
        default=0.08, description="standard deviation of pixel noise, white = 1"
    )
    seed: Natural = 0


class Digits(Section):
    """The 1,797 real handwritten digits inside scikit-learn (8 × 8, enlarged to `size`)."""

    kind: Literal["digits"]
    size: Count = 16
    test_fraction: Fraction = 0.3
    seed: Natural = 0


Background = Literal["white", "grey", "black"]


class ImageFolder(Section):
    """A folder of class folders, or of `train/` and `test/` with class folders in each."""

    kind: Literal["image_folder"]
    path: str = located("the folder")
    sha256: Sha256 | None = Field(
        default=None, description="content, written by `headstart data add`"
    )
    size: Count
    channels: Literal[1, 3] = 3
    resize: Literal["crop", "squash"] = Field(
        default="crop",
        description="crop: shorter side to `size`, then centre crop; squash: both sides",
    )
    background: Background | None = Field(
        default=None,
        description="what transparent images stand on; null: white, and images whose content lies in the "
        "alpha channel alone are refused",
    )
    test_fraction: Fraction = Field(default=0.2, description="used where there is no test/ folder")
    train_per_class: Count | None = Field(
        default=None, description="keep only so many images of the training part, drawn by `seed`"
    )
    test_per_class: Count | None = Field(default=None, description="the same of the test part")
    seed: Natural = 0
    groups: dict[ClassName, tuple[ClassName, ...]] = Field(
        default_factory=dict, description="named sets of classes"
    )


TorchvisionName = Literal[
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "EMNIST",
    "SVHN",
    "STL10",
    "EuroSAT",
    "OxfordIIITPet",
    "Flowers102",
    "Caltech101",
]


class Torchvision(Section):
    """A dataset that torchvision downloads; the files are cached in `folder`."""

    kind: Literal["torchvision"]
    name: TorchvisionName
    folder: str = located("where downloads are cached", default="downloads")
    size: Count | None = Field(default=None, description="null keeps the size of the source images")
    channels: Literal[1, 3] | None = None
    resize: Literal["crop", "squash"] = "crop"
    test_fraction: Fraction = Field(
        default=0.2, description="used where the dataset has no test part"
    )
    seed: Natural = 0
    emnist_split: Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"] = (
        "letters"
    )


Dataset = Annotated[Glyphs | Digits | ImageFolder | Torchvision, Field(discriminator="kind")]


class Task(Section):
    """A dataset plus a choice of classes; validation images are held out of its training part."""

    dataset: Name
    classes: ClassName | tuple[ClassName, ...] = Field(
        default="all", description="'all', a class, a named group, or a list of these"
    )
    validation_per_class: Count = 10
    train_per_class: Count | None = Field(
        default=None, description="keep only so many training images"
    )
