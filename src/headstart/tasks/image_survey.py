"""What a folder of images holds, and what is to be said of it before anything trains.

One survey serves `headstart data add`, `headstart start`, the step `data`, and through it the check.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL.Image import Image

from headstart.params.datasets import Background
from headstart.tasks import TaskError
from headstart.tasks.image_files import (
    ImageFile,
    Listing,
    by_suffix,
    composed,
    find_images,
    some,
)
from headstart.tasks.pictures import Facts, look, shown
from headstart.tasks.storage import NEVER_HELD_OUT

MOST_CLASSES = 40
"""Rows of the table of classes."""
MOST_PROBLEMS = 200
PARTS = ("train", "validation", "test")


def survey(
    folder: Path,
    background: Background | None = None,
    use: Callable[[int, int, Image], None] | None = None,
) -> Survey:
    """Decode all images of a folder.

    Args:
        folder: a folder of class folders, or of parts with class folders in each.
        background: what transparent images stand on; None: white, unless a picture is all alpha.
        use: called with the position of an image, their number and the picture.

    Raises:
        TaskError: as `find_images`; images that do not decode, or whose content lies in their alpha
            channel alone, are named all together.
    """
    listing = find_images(folder)
    facts, problems = [], list(listing.findings.problems)
    for position, file in enumerate(listing.files):
        try:
            found, picture = look(file.path, background or "white")
        except TaskError as error:
            problems.append(str(error))
            continue
        facts.append(found)
        if use and not problems:
            use(position, len(listing.files), picture)
    if problems:
        more = len(problems) - MOST_PROBLEMS
        lines = [*problems[:MOST_PROBLEMS], *([f"{more:,} more of these"] if more > 0 else [])]
        raise TaskError("\n".join(lines))
    done = Survey(listing, facts)
    done.check_alpha(background)
    return done


@dataclass(frozen=True)
class Survey:
    """The images of a folder, and what decoding them told; facts are in the order of the files."""

    listing: Listing
    facts: Sequence[Facts]

    @property
    def files(self) -> list[ImageFile]:
        """Return the images, sorted by part, class and path."""
        return self.listing.files

    @cached_property
    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted({file.class_name for file in self.files})

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Return the positions of equal pictures, for each that is there more than once."""
        places: dict[str, list[int]] = defaultdict(list)
        for position, fact in enumerate(self.facts):
            places[fact.digest].append(position)
        return {digest: each for digest, each in places.items() if len(each) > 1}

    @cached_property
    def first_copies(self) -> dict[int, int]:
        """Return, for the position of every copy, that of the first equal picture."""
        return {copy: first for first, *copies in self.groups.values() for copy in copies}

    def copies(self) -> Int64[np.ndarray, " images"] | None:
        """Return a number for each image that equal pictures share; None where all differ.

        It is `NEVER_HELD_OUT` where a picture stands under two labels: no answer to it is right.
        """
        if not self.groups:
            return None
        numbers = np.arange(len(self.files), dtype=np.int64)
        for positions in self.groups.values():
            labels = {self.files[each].class_name for each in positions}
            numbers[positions] = positions[0] if len(labels) == 1 else NEVER_HELD_OUT
        return numbers

    def content_hash(self) -> str:
        """Return the sha256 of the relative paths and bytes of the images, and of what changes their use.

        Where a folder lies is no part of it, nor in which Unicode form its names are.
        """
        digest = hashlib.sha256()
        for position, (file, fact) in enumerate(zip(self.files, self.facts, strict=True)):
            with file.path.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            name = composed(file.path.relative_to(self.listing.folder).as_posix())
            marks = [f"orientation {fact.orientation}"] if fact.orientation != 1 else []
            marks += ["transparent"] if fact.transparent else []
            if position in self.first_copies:
                marks.append(f"copy of {self.first_copies[position]}")
            digest.update("\0".join([name, content, *marks]).encode() + b"\n")
        return digest.hexdigest()

    def check_alpha(self, background: Background | None) -> None:
        """Refuse pictures that are there in their alpha channel alone, or vanish on their background."""
        hidden = [file for file, fact in self._pairs() if fact.only_alpha]
        if hidden and background is None:
            raise TaskError(
                f"{self._some(hidden)}: {_number(hidden)} whose picture is in the alpha channel alone; set "
                "`background` of this dataset to white, grey or black, what they are to stand on"
            )
        gone = [file for file, fact in self._pairs() if fact.only_alpha and fact.plain]
        if gone:
            raise TaskError(
                f"{self._some(gone)}: {_number(gone)} of the colour of their background, {background}; choose "
                "another `background`"
            )

    def _pairs(self) -> Iterator[tuple[ImageFile, Facts]]:
        return zip(self.files, self.facts, strict=True)

    def _some(self, files: Sequence[ImageFile]) -> str:
        return some([file.path.relative_to(self.listing.folder) for file in files])

    def lines(self) -> list[str]:
        """Return the classes with their images of each part, and one line for each finding."""
        return [*self._table(), *self.findings()]

    def _table(self) -> Iterator[str]:
        counts: Counter[tuple[str, str]] = Counter(
            (file.class_name, file.part or "images") for file in self.files
        )
        parts = [part for part in (*PARTS, "images") if any(each == part for _, each in counts)]
        rows = [(shown(name), [counts[name, part] for part in parts]) for name in self.classes]
        wide = max(8, *(len(name) for name, _ in rows[:MOST_CLASSES]))
        yield f"{'class':<{wide}}" + "".join(f"{part:>12}" for part in parts)
        for name, numbers in rows[:MOST_CLASSES]:
            yield f"{name:<{wide}}" + "".join(f"{number:>12,}" for number in numbers)
        if len(rows) > MOST_CLASSES:
            least = min(sum(numbers) for _, numbers in rows[MOST_CLASSES:])
            yield f"and {len(rows) - MOST_CLASSES:,} more classes of {least:,} images or more"
        totals = [sum(numbers[i] for _, numbers in rows) for i in range(len(parts))]
        yield f"{'all':<{wide}}" + "".join(f"{number:>12,}" for number in totals)

    def findings(self) -> list[str]:
        """Return one line for each thing that a person should know, with what to do about it."""
        return [*self._of_files(), *self._of_pictures(), *self._of_copies(), *self._of_names()]

    def _of_files(self) -> Iterator[str]:
        found = self.listing.findings
        if found.other:
            yield (
                f"left out: {_number(found.other, 'file')}, no image that can be read: {by_suffix(found.other)}; "
                "convert those that are pictures to JPEG or PNG"
            )
        if found.loose:
            yield (
                f"left out: {_number(found.loose)} that lie in no class folder ({some(found.loose)}); move each "
                "into the folder of its class"
            )
        if found.system:
            names = sorted({path.name for path in found.system})
            yield f"left out: {len(found.system):,} hidden or of the system ({some(names)})"
        if found.links:
            yield f"{_number(found.links, 'link')} followed, such as {some(found.links[:1])}"
        yield from found.left
        validation = sum(file.part == "validation" for file in self.files)
        if validation:
            yield (
                f"{validation:,} published validation images validate; `validation_per_class` counts only for "
                "classes that have none"
            )

    def _of_pictures(self) -> Iterator[str]:
        said = (
            (lambda fact: fact.orientation != 1, "turned upright by EXIF orientation"),
            (
                lambda fact: fact.transparent,
                "transparent in places, put on white or the `background` of this dataset",
            ),
            (lambda fact: fact.frames, "of several frames, of which the first is read"),
            (lambda fact: fact.deep, "of more than 8 bits, scaled to 8"),
            (lambda fact: fact.plain, "of one colour all over; look at what they show"),
        )
        for holds, what in said:
            files = [file for file, fact in self._pairs() if holds(fact)]
            if files:
                yield f"{_number(files)} {what} ({self._some(files)})"

    def _of_copies(self) -> Iterator[str]:
        """Tell equal pictures apart by where they stand: two labels, two parts, or one of both."""
        labels, parts, alike = [], [], []
        for positions in self.groups.values():
            files = [self.files[each] for each in positions]
            if len({file.class_name for file in files}) > 1:
                labels.append(files)
            elif len({file.part for file in files}) > 1:
                parts.append(files)
            else:
                alike.append(files)
        if labels:
            yield (
                f"{_number(labels, 'picture')} under two labels ({self._equal(labels, 'class_name')}); remove the wrong ones. "
                "They are never drawn for testing or validation"
            )
        tested = [files for files in [*parts, *labels] if len({file.part for file in files}) > 1]
        if tested:
            count = Counter(file.part for files in tested for file in files)
            held = " and ".join(
                f"{count[part]:,} {part} images" for part in ("validation", "test") if count[part]
            )
            yield (
                f"{held} are equal to images of another part ({self._equal(tested, 'part')}): accuracy on them "
                "says nothing of new images; remove them from one part"
            )
        if alike:
            copies = [file for files in alike for file in files[1:]]
            yield (
                f"{_number(copies, 'image')} equal to another of the same class ({self._equal(alike, 'path')}); a part that is drawn gets "
                "all copies of a picture or none"
            )

    def _equal(self, groups: Sequence[Sequence[ImageFile]], by: str) -> str:
        """Name two files of every group, which differ in what the line speaks of."""
        pairs = []
        for first, *others in groups:
            other = next(each for each in others if getattr(each, by) != getattr(first, by))
            names = (each.path.relative_to(self.listing.folder) for each in (first, other))
            pairs.append(" = ".join(map(shown, names)))
        return some(pairs)

    def _of_names(self) -> Iterator[str]:
        spelt: dict[str, set[str]] = defaultdict(set)
        for file in self.files:
            top = file.path.relative_to(self.listing.folder).parts
            spelt[file.class_name].add(top[1] if file.part else top[0])
        for name, folders in sorted(spelt.items()):
            if folders != {name}:
                others = ", ".join(ascii(each) for each in sorted(folders - {name}))
                yield f"class {shown(name)!r} is the folder {others}; params name it in the first form"
        if "all" in self.classes:
            yield "class 'all' cannot be chosen alone: in params the word means all classes; rename its folder"


def _number(things: Sequence[object], what: str = "image") -> str:
    return f"{len(things):,} {what}" + ("s" if len(things) != 1 else "")
