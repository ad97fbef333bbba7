"""The state of an unfinished run, in one file that is whole or ignored."""

import hashlib
import io
import logging
import os
from pathlib import Path
from typing import Any

import torch

DIGEST_BYTES = 32

logger = logging.getLogger(__name__)


def write_state(path: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Write tensors, numbers and texts for `read_state`; replaces the file in one step.

    The file begins with the sha256 of the rest, as torch reads damaged tensors without complaint.
    """
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "state": state}, buffer)
    content = buffer.getbuffer()
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_state(path: Path, fingerprint: str, device: torch.device) -> dict[str, Any] | None:
    """Return what `write_state` wrote, or None where there is nothing that may be used.

    A file that is damaged, or was written under another fingerprint, is deleted.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    problem = "it is damaged"
    if hashlib.sha256(content).digest() == digest:
        saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        if saved["fingerprint"] == fingerprint:
            return saved["state"]
        problem = "it is of other code, params, versions or device"
    logger.info("%s: this partial state is discarded, because %s", path, problem)
    path.unlink()
    return None
