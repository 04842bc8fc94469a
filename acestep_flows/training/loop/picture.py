"""Pictures for previews."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from acestep_flows import storage
from acestep_flows.values import MEL_HOP, MODEL_RATE, FloatArray


def compare_mels(path: Path, mels: Mapping[str, FloatArray]) -> None:
    """Write a PNG that shows log-mels (bands, frames), by title, one below the other on one colour scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.4 * len(mels)), dpi=110)
    FigureCanvasAgg(figure)
    for row, (title, mel) in enumerate(mels.items()):
        axes = figure.add_subplot(len(mels), 1, row + 1)
        seconds = mel.shape[-1] * MEL_HOP / MODEL_RATE
        axes.imshow(
            mel, origin="lower", aspect="auto", vmin=-11, vmax=2, cmap="magma", extent=(0, seconds, 0, len(mel))
        )
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_ylabel("mel band")
    axes.set_xlabel("seconds")
    figure.tight_layout()
    image = BytesIO()
    figure.savefig(image, format="png")
    storage.write(path, image.getvalue())
