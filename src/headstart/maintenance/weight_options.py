"""What a person says of a file of weights that the file does not."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.params.reading import ParamsError


@dataclass(frozen=True)
class WeightOptions:
    """Which network in a file is meant, and how its pixels were normalised, white = 1.

    Attributes:
        part: of a file with several networks in it, such as `model_ema` or `teacher.backbone`.
        mean: that was taken from the pixels (white = 1) when the weights were trained.
        deviation: that the pixels were divided by.
    """

    part: str | None = None
    mean: float | None = None
    deviation: float | None = None

    def pixels(self) -> dict[str, float] | None:
        """Return mean and deviation where they are stated.

        Raises:
            ParamsError: one of them alone is.
        """
        if self.mean is None or self.deviation is None:
            if self.mean != self.deviation:
                raise ParamsError("give both --mean and --deviation, or neither")
            return None
        return {"mean": self.mean, "deviation": self.deviation}


NOTHING_SAID = WeightOptions()
