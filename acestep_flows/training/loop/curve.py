"""The curve of a run: one JSON line every few steps. A resumed run continues the file from the step of its state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import StorageError


class LossCurve:
    """The curve at `path`. Opening it removes the lines after `step`, as the resumed run logs them again.

    Raises:
        StorageError: the file cannot be written.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        lines = [line for line in read(path) if line["step"] <= step]
        storage.write(path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line. It must have the key `step`.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(line)) + "\n")
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written: {error.strerror or error}") from error


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a curve. A line that a kill cut short is left out."""
    lines = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
    return lines


def draw(path: Path, picture: Path) -> None:
    """Write a PNG of every loss in the curve at `path`: thin lines as logged, thick lines as running means."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [line for line in read(path) if "lr" in line]
    terms = sorted({name for line in lines for name in line if name.startswith("loss")})
    figure = Figure(figsize=(8, 4.5), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, term in enumerate(terms):
        points = [(line["step"], line[term]) for line in lines if line.get(term) is not None]
        steps, values = zip(*points, strict=True) if points else ((), ())
        axes.plot(steps, values, color=f"C{index}", linewidth=0.5, alpha=0.35)
        axes.plot(steps, _running_mean(values), color=f"C{index}", linewidth=1.6, label=term)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    if terms:
        axes.legend(frameon=False)
    # Fixed margins: measuring the labels would take as long as drawing.
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.12, top=0.96)
    image = BytesIO()
    figure.savefig(image, format="png")
    storage.write(picture, image.getvalue())


def _running_mean(values: Sequence[float]) -> list[float]:
    """Exponential moving average with weight 0.1 for each new value."""
    means, mean = [], values[0] if values else 0.0
    for value in values:
        mean += 0.1 * (value - mean)
        means.append(mean)
    return means
