"""The image files of a folder: which class and part each belongs to, and what else lies there.

Links are followed, loops end, and what systems leave behind (`.DS_Store`, `Thumbs.db`, `@eaDir`) does not
count. Nothing is decoded here.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headstart.tasks import TaskError
from headstart.tasks.pictures import is_picture, promises_picture, shown

Part = Literal["train", "validation", "test"]

SYSTEM_FILES = frozenset(
    [
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "@eadir",
        "@recycle",
        "@tmp",
        "#recycle",
        "$recycle.bin",
        "__macosx",
        "__pycache__",
        "lost+found",
    ]
) | {"system volume information"}
# Folders whose files are devices and processes: reading them may never end.
SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")
PARTS: dict[Part, str] = {
    "train": "train|training|trainset",
    "validation": "val|valid|valset|validation|validate|dev|eval|evaluation",
    "test": "test|testing|testset",
}
# Words that may stand beside the word for a part: `train_images`, `Test Set`, `seg_train`.
WORDS = re.compile(r"[^\W_]+")
EXAMPLES = 3


@dataclass(frozen=True)
class ImageFile:
    """An image file, its class, and the part it belongs to; None where the folder is not split."""

    path: Path
    class_name: str
    part: Part | None


@dataclass
class Findings:
    """What a walk through folders met beside images of classes."""

    other: list[Path] = field(default_factory=list)
    """Files that are no images."""
    loose: list[Path] = field(default_factory=list)
    """Images that lie in no class folder."""
    system: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    """Links that were followed."""
    left: list[str] = field(default_factory=list)
    """Links and special files that were not, each with the reason."""
    problems: list[str] = field(default_factory=list)
    """What keeps the folder from being used, each with how to fix it."""


@dataclass
class Listing:
    """The images of a folder, sorted by part, class and path, and what else the walk met."""

    folder: Path
    files: list[ImageFile]
    findings: Findings


def some(names: Sequence[Path | str]) -> str:
    """Return a few of many names."""
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return ", ".join(map(shown, names[:EXAMPLES])) + more


def composed(name: str) -> str:
    """Return a name in the Unicode form in which people type it, whatever its folder came from.

    Names that are no UTF-8 are read as Western European, as most such names are.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(name).decode("cp1252", errors="replace")
    return unicodedata.normalize("NFC", name)


def is_of_system(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that systems leave behind."""
    return name.startswith((".", "~$")) or name.casefold() in SYSTEM_FILES


def part_of(name: str) -> Part | None:
    """Return the part that a folder's name speaks of, in any case and spelling."""
    words = [word.casefold() for word in WORDS.findall(name)]
    found: list[Part] = [
        part for part, known in PARTS.items() if set(words) & set(known.split("|"))
    ]
    return found[0] if len(found) == 1 else None


def find_images(folder: Path) -> Listing:
    """List the images of a folder of class folders, or of parts with class folders in each.

    Folders inside a class folder belong to the class.

    Raises:
        TaskError: there is no such folder, it has no class folders, or one cannot tell classes from
            parts. Classes without an image are among the problems that the listing names.
    """
    if not folder.is_dir():
        raise TaskError(f"{shown(folder)}: no such folder; correct `path`")
    if any("\ud800" <= letter <= "\udfff" for letter in str(folder)):
        raise TaskError(
            f"{shown(folder)}: a name that is not UTF-8, as params are; rename the folder"
        )
    findings = Findings()
    folders = _subfolders(folder, findings)
    parts = _parts(folder, folders)
    files: list[ImageFile] = []
    if not parts:
        files = _find_classes(folder, None, findings)
    for part, place in parts.items():
        files += _find_classes(place, part, findings)
    known = {file.class_name for file in files if file.part in (None, "train")}
    strangers = dict.fromkeys(
        (file.part, file.class_name) for file in files if file.class_name not in known
    )
    if strangers:
        lines = (
            f"{shown(parts[part] / name)}: {shown(parts['train'].name)}/ has no such class; move it elsewhere"
            for part, name in strangers
            if part
        )
        raise TaskError("\n".join(lines))
    return Listing(folder, files, findings)


def image_files(folder: Path) -> list[Path]:
    """Return the images below a folder, wherever they lie in it, by their paths."""
    return _walk(folder, folder, Findings())


def _subfolders(folder: Path, findings: Findings) -> list[Path]:
    """Return the folders in a folder by their names; note the files beside them."""
    found = []
    for entry in _entries(folder, findings):
        path = Path(entry.path)
        if os.path.isdir(path):
            found.append(path)
        elif not os.path.exists(path):
            _note_lost(path, findings)
        else:
            (findings.loose if is_picture(path) else findings.other).append(path)
    return found


def _entries(folder: Path, findings: Findings) -> list[os.DirEntry[str]]:
    """Return what lies in a folder by name, without what systems leave behind."""
    try:
        with os.scandir(folder) as entries:
            every = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        findings.problems.append(
            f"{shown(folder)}: cannot be read ({error.strerror}); change its permissions or move it elsewhere"
        )
        return []
    findings.system += [Path(entry.path) for entry in every if is_of_system(entry.name)]
    return [entry for entry in every if not is_of_system(entry.name)]


def _parts(folder: Path, folders: list[Path]) -> dict[Part, Path]:
    """Return the folders of the parts; none where the folders are classes.

    A class may be called `train`: it holds images, a part holds folders.
    """
    exact = {"train", "test"} <= {each.name for each in folders}
    found: dict[Part, list[Path]] = {}
    for each in folders:
        part = part_of(each.name)
        if part and ((exact and each.name == part) or _holds_folders(each)):
            found.setdefault(part, []).append(each)
    if not found or ("train" not in found and len(found) == 1 and len(folders) > 1):
        return {}
    for part, places in found.items():
        if len(places) > 1:
            raise TaskError(
                f"{shown(folder)}: {some([each.name for each in places])} are both a {part} part by their "
                "names; join them, or move one elsewhere"
            )
    chosen = {part: found[part][0] for part in PARTS if part in found}
    _check_parts(folder, folders, chosen)
    return chosen


def _check_parts(folder: Path, folders: list[Path], parts: dict[Part, Path]) -> None:
    names = {part: f"{shown(place.name)}/" for part, place in parts.items()}
    if "train" not in parts:
        raise TaskError(
            f"{shown(folder)}: has {' and '.join(names.values())} but no train/; name the training part train/"
        )
    if "test" not in parts:
        beside = f" (or rename {names['validation']})" if "validation" in parts else ""
        raise TaskError(
            f"{shown(folder)}: has {names['train']} but no test/; name the test part test/{beside}, or "
            f"move the class folders out of {names['train']} to have a test part drawn"
        )
    for each in folders:
        if each not in parts.values():
            raise TaskError(
                f"{shown(each)}: stands beside {' and '.join(names.values())}; move it elsewhere"
            )


def _holds_folders(folder: Path) -> bool:
    """Return whether a folder holds folders and no images of its own."""
    aside = Findings()
    return bool(_subfolders(folder, aside)) and not aside.loose


def _find_classes(root: Path, part: Part | None, findings: Findings) -> list[ImageFile]:
    folders = _subfolders(root, Findings() if part is None else findings)
    expected = "each class needs a folder with images in it"
    if not folders:
        raise TaskError(f"{shown(root)}: no class folders in it; {expected}")
    _check_one_folder(root, folders)
    _check_same_subfolders(root, folders)
    files: list[ImageFile] = []
    for each in folders:
        before = len(findings.other)
        found = _walk(each, root, findings)
        if not found:
            others = findings.other[before:]
            beside = f", only {by_suffix(others)}" if others else ""
            findings.problems.append(
                f"{shown(each)}: no image of this class{beside}; {expected}, or remove the folder"
            )
        files += [ImageFile(path, composed(each.name), part) for path in found]
    # Two spellings of one name are one class, whose images stand together.
    return sorted(files, key=lambda file: file.class_name)


def _check_one_folder(root: Path, folders: list[Path]) -> None:
    """Refuse a folder around the folder of the classes, as archives have it when they are unpacked."""
    if len(folders) > 1 or not _holds_folders(folders[0]):
        return
    inside = _subfolders(folders[0], Findings())
    if len(inside) > 1:
        names = some([each.name for each in inside])
        raise TaskError(
            f"{shown(root)}: all lies in {shown(folders[0].name)}, whose folders ({names}) look like the classes; "
            "give that folder, or move them up"
        )


def _check_same_subfolders(root: Path, folders: list[Path]) -> None:
    """Refuse folders that all hold the same folders and nothing else: which of both are the classes?"""
    if len(folders) < 2 or not all(map(_holds_folders, folders)):
        return
    inside = [{each.name for each in _subfolders(folder, Findings())} for folder in folders]
    if len(inside[0]) < 2 or any(names != inside[0] for names in inside):
        return
    names, inner = some([each.name for each in folders]), sorted(inside[0])
    if all(map(part_of, inner)):
        raise TaskError(
            f"{shown(root)}: each of {names} holds {some(inner)}, which are parts; put these at the top, with "
            "the class folders inside them"
        )
    raise TaskError(
        f"{shown(root)}: each of {names} holds the same folders ({some(inner)}), so they look like parts, not "
        "classes; name them train/ and test/, or give one of them alone"
    )


def _walk(folder: Path, root: Path, findings: Findings) -> list[Path]:
    """Return the images below a folder, sorted by path; links are followed when all else was seen."""
    images: list[Path] = []
    folders, links = [folder], list[Path]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        if folders:
            place = folders.pop()
            seen.add(_identity(place))
            for entry in _entries(place, findings):
                path = Path(entry.path)
                if entry.is_symlink():
                    links.append(path)
                elif entry.is_dir():
                    folders.append(path)
                elif not entry.is_file():
                    findings.left.append(f"{shown(path)}: no file but a device or a pipe; left out")
                else:
                    (images if is_picture(path) else findings.other).append(path)
            continue
        path = links.pop(0)
        if reason := _not_followed(path, root, seen):
            findings.left.append(f"{shown(path)}: {reason}")
        elif not os.path.exists(path):
            _note_lost(path, findings)
        elif path.is_dir():
            findings.links.append(path)
            folders.append(path)
        else:
            findings.links.append(path)
            (images if is_picture(path) else findings.other).append(path)
    return sorted(images, key=lambda path: composed(path.relative_to(folder).as_posix()))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _not_followed(link: Path, root: Path, seen: set[tuple[int, int]]) -> str | None:
    """Return why a link is not followed; None where it is, or leads nowhere."""
    target = Path(os.path.realpath(link))
    if not os.path.exists(target):
        return None
    if str(target).startswith(SYSTEM_FOLDERS):
        return f"a link into {target}, which holds no pictures; left out"
    mode = target.stat().st_mode
    if stat.S_ISDIR(mode):
        here = Path(os.path.realpath(root))
        if target == here or target in here.parents:
            return "a link to a folder that contains it; not followed"
        return (
            "a link to a folder that was read already; not followed"
            if _identity(target) in seen
            else None
        )
    return None if stat.S_ISREG(mode) else "a link to a device or a pipe; left out"


def _note_lost(link: Path, findings: Findings) -> None:
    """Note a link to nowhere: a problem where an image is missing."""
    line = f"{shown(link)}: a link to {shown(os.readlink(link))}, where nothing is; mend the link or remove it"
    (findings.problems if promises_picture(link) else findings.left).append(line)


def by_suffix(files: Iterable[Path]) -> str:
    """Return how many files there are of each suffix: `3 .txt, 1 without suffix`."""
    counts: dict[str, int] = {}
    for file in files:
        suffix = shown(file.suffix.lower()) or "without suffix"
        counts[suffix] = counts.get(suffix, 0) + 1
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{number:,} {suffix}" for suffix, number in ordered)
