"""Mathematics on tensors: no files, no params, no choice of device."""

from headstart import from_stub

__getattr__, __all__ = from_stub(__name__)
