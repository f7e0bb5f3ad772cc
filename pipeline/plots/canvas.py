"""What all pictures share. Each function writes one PNG as a whole, the same bytes for the same arguments.

Colours are those of Okabe and Ito, Color Universal Design (2008), which readers without red-green vision tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = np.ndarray[Any, Any]
MOST_COUNTED = 20  # classes; numbers in the cells of more would be too small to read
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"


def new_figure(width: float, height: float) -> Figure:
    """A figure of inches that no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), dpi=105, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG as a whole. Raises UserError if the disk cannot be written."""
    with files.disk_errors("a picture", path), files.whole_file(path) as partial:
        # Without the version of matplotlib in the file, its bytes follow from what is drawn.
        figure.savefig(partial, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
