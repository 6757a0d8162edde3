"""A race as a picture: a pair of bars per model and batch size, our time and the other engine's.

python benchmarks/race_picture.py benchmarks/results/FILE.json OUT.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS, THEIRS = "#1f77b4", "#b0b0b0"  # readable on white and in print


def draw(document: dict[str, Any], path: str) -> None:
    """Bars of median milliseconds per image, shorter is better, the ratio written beside them."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "cnnkern", "font.size": 10})
    import matplotlib.pyplot as plt

    heats = [heat for heat in document["heats"] if heat["correct"]]
    batches = sorted({heat["batch"] for heat in heats})
    rows = max(sum(heat["batch"] == batch for heat in heats) for batch in batches)
    figure, axes = plt.subplots(1, len(batches), figsize=(5 * len(batches), 1.4 + 0.55 * rows), squeeze=False)
    for axis, batch in zip(axes[0], batches):
        _bars(axis, [heat for heat in heats if heat["batch"] == batch])
        axis.set_title(f"batch {batch}", loc="left")
    machine = document["machine"]
    axes[0][0].legend(loc="lower right", frameon=False)
    figure.suptitle("Milliseconds per image, median, float32 (shorter is better)", x=0.02, ha="left")
    caption = f"{machine['cpu']}, {machine['isa']}, {machine['threads']} threads, {document['date'][:10]}"
    figure.text(0.02, 0.01, caption, color="#666666", fontsize=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None, dpi=150)


def _bars(axis, heats: list[dict[str, Any]]) -> None:
    for row, heat in enumerate(heats):
        ours, theirs = heat["engines"][0], heat["engines"][-1]
        for entry, offset, colour in ((ours, -0.19, OURS), (theirs, 0.19, THEIRS)):
            ms = entry["time"]["median_ms"] / heat["batch"]
            axis.barh(row + offset, ms, 0.36, color=colour, label=entry["engine"] if row == 0 else None)
            note = f"{ms:.2f}" + (f"  ({theirs['ratio_median']:.2f}x)" if entry is ours else "")
            axis.text(ms, row + offset, f" {note}", va="center", fontsize=8)
    axis.set_yticks(range(len(heats)), [heat["model"] for heat in heats])
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.25)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
