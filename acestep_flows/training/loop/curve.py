"""The curve of a run: one JSON line every few steps, in a file that a resumed run continues where its state stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import StorageError


class LossCurve:
    """`path`, with what was logged after `step` cut off: the run that resumes there will log it again."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = [line for line in read(path) if line["step"] <= step]
        storage.write(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line, which has a `step`."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(line)) + "\n")
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written: {error.strerror or error}") from error


def read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a curve; a last one that was cut short by a kill is left out."""
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
    """A PNG of every loss in the curve at `path`, thin as logged and thick as a running mean."""
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
        smooth, running = [], values[0] if values else 0.0
        for value in values:
            running += 0.1 * (value - running)
            smooth.append(running)
        axes.plot(steps, values, color=f"C{index}", linewidth=0.5, alpha=0.35)
        axes.plot(steps, smooth, color=f"C{index}", linewidth=1.6, label=term)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    if terms:
        axes.legend(frameon=False)
    # Fixed margins: to measure the labels first takes as long as to draw.
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.12, top=0.96)
    from io import BytesIO

    image = BytesIO()
    figure.savefig(image, format="png")
    storage.write(picture, image.getvalue())
