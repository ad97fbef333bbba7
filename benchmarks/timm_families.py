"""One small network of every timm family: its own state dict loads, and gives timm's own features.

    python benchmarks/timm_families.py [FAMILY …]

Weights are random, so nothing is downloaded; a file has timm's names, a classifier of 1,000 classes and `module.`
before every name, as a parallel training saves it. Families whose smallest network has more than 40 million
weights are named and left out.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator

import timm
import torch

from headstart.networks.build import build
from headstart.networks.weights import load_content
from headstart.params.models import Timm

MOST_WEIGHTS = 40_000_000
# Parts of names that small networks have, the smallest first.
SMALL = ("pico", "atto", "femto", "nano", "zepto", "tiny", "xx", "_s0", "m0", "_xs", "18", "small")
SMALL += ("_s", "050", "b0", "x_4", "002")


def smallest() -> Iterator[tuple[str, str]]:
    """Yield every family, a module of timm, with a small network of it."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        if not name.startswith("test_"):
            module = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
            families[module].append(name)

    def rank(name: str) -> tuple[int, int]:
        return next((i for i, part in enumerate(SMALL) if part in name), len(SMALL)), len(name)

    yield from ((family, min(names, key=rank)) for family, names in sorted(families.items()))


def outcome(name: str) -> str:
    """Return `equal` where the features are timm's own, else what came out."""
    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    if sum(weight.numel() for weight in theirs.parameters()) > MOST_WEIGHTS:
        return "left out: large"
    side = timm.get_pretrained_cfg(name).input_size[-1]
    model = Timm(kind="timm", name=name)
    try:
        ours = build(model, 3, side, 10, seed=1)
        saved = {"state_dict": {f"module.{k}": v.clone() for k, v in theirs.state_dict().items()}}
        load_content(ours, saved, model, 3, name)
    except ValueError as error:
        return f"refused: {error}"
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        wanted = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        features = ours.eval().features(images)
    wanted = wanted if wanted.ndim == 2 else wanted.flatten(1)
    same = features.shape == wanted.shape and torch.allclose(features, wanted, 1e-3, 1e-4)
    return "equal" if same else f"OTHER features {tuple(features.shape)}, {tuple(wanted.shape)}"


def main() -> None:
    """Print a line for every family, and how many had which outcome."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("families", nargs="*", help="modules of timm; all where none is named")
    chosen = parser.parse_args().families
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for family, name in smallest():
        if chosen and family not in chosen:
            continue
        started = time.process_time()
        said = outcome(name)
        counts[said.partition(" ")[0].rstrip(":")] += 1
        seconds = time.process_time() - started
        print(f"{family:22} {name:34} {seconds:5.1f} s  {said}", flush=True)
    print(", ".join(f"{number} {what}" for what, number in counts.items()))


if __name__ == "__main__":
    main()
