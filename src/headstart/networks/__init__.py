"""Networks: a backbone from images to features and a head; small ones, timm's, the user's."""

from headstart import from_stub

__getattr__, __all__ = from_stub(__name__)
