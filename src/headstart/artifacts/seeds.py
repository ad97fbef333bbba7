"""Seeds that come from the names of things, never from the order in which jobs run."""

import hashlib


def derive_seed(*names: str | int) -> int:
    """Return a seed in [0, 2^63) for a purpose, such as `derive_seed("shots", task, draw)`."""
    text = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
