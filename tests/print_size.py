"""What every figure must be in print."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text

from headstart.figures.labels import caption_of
from headstart.figures.style import ONE_COLUMN, TWO_COLUMNS

SMALLEST = 7


def assert_fit_for_print(figure: Figure) -> None:
    """Check width, size of text, title, caption, axes, and that no words are cut off at an edge."""
    assert round(figure.get_size_inches()[0], 2) in (ONE_COLUMN, TWO_COLUMNS)
    assert figure.get_suptitle().count("\n") <= 1
    assert len(figure.get_suptitle()) > 20
    assert len(caption_of(figure)) > 20
    figure.draw_without_rendering()
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().strip() or not text.get_visible():
            continue
        assert text.get_fontsize() >= SMALLEST, text
        if text in ticks:
            continue
        box, page = text.get_window_extent(), figure.bbox
        inside = box.x0 >= -3 and box.x1 <= page.x1 + 3 and box.y0 >= -3 and box.y1 <= page.y1 + 3
        assert inside, f"{text.get_text()!r} is cut off"
    for axes in figure.axes:
        assert "symlog" not in (axes.get_xscale(), axes.get_yscale())
