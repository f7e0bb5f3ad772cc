"""What all pictures share. Each function writes one PNG as a whole, the same bytes for the same arguments.

Colours are those of Okabe and Ito, Color Universal Design (2008), which readers without red-green vision tell apart.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import files
from pipeline.errors import UserError, printable, short

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]
MOST_COUNTED = 20  # classes; numbers in the cells of more would be too small to read
MOST_NAMED = 60  # classes; of more, some are named
NAMED = 20  # of those
logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of a home that it cannot write to it says two long lines each time
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"


def new_figure(width: float, height: float) -> Figure:
    """A figure of inches that no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), dpi=105, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def name_ticks(axis: Axis, names: Sequence[str], first: float = 0.0, **style: Any) -> None:
    """Write ``names`` beside an axis, one per unit from ``first``."""
    axis.set_ticks((np.arange(len(names)) + first).tolist(), [short(name) for name in names], **style)


def name_some(axis: Axis, names: Sequence[str], first: float = 0.0, **style: Any) -> None:
    """``name_ticks``, but of more than MOST_NAMED names only NAMED, evenly spread: a name costs more than all else."""
    if len(names) <= MOST_NAMED:
        name_ticks(axis, names, first, **style)
        return
    places = np.unique(np.linspace(0, len(names) - 1, NAMED).astype(np.int64))
    axis.set_ticks((places + first).tolist(), [short(names[place]) for place in places], **style)


def few_ticks(axis: Axis, count: int, whole: bool = False) -> None:
    """At most about ``count`` ticks on a linear axis; ``whole``: at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(count, integer=whole))


def save(figure: Figure, path: Path) -> None:
    """Write a PNG as a whole, every text in it as it is spelt. Raises UserError if the disk cannot be written."""
    import matplotlib

    # ticks are made while it is drawn, so what holds for texts is said of those to come too
    with files.disk_errors("a picture", path), matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks is a box
        _spell(figure)
        with files.whole_file(path) as partial:
            # Without the version of matplotlib in the file, its bytes follow from what is drawn.
            figure.savefig(partial, format="png", metadata={"Software": None})


def _spell(figure: Figure) -> None:
    """Draw texts as they are spelt: two ``$`` in the name of a class or a channel are no formula."""
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() != "linear":  # its numbers are formulas otherwise
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(printable(text.get_text(), keep="\n"))


@contextmanager
def attempt(path: Path) -> Iterator[None]:
    """The drawing of the picture ``path``, whose failure is one line on the standard error, and no picture.

    A disk that cannot be written is still a UserError. Everything else, too little memory among it, is a defect of the
    picture alone: whatever it shows was measured and written before.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        with suppress(OSError):
            path.unlink()
        why = printable(" ".join(f"{type(error).__name__}: {error}".split()))
        print(f"warning: {path} was not drawn ({why}); everything else is there", file=sys.stderr)
