"""A race as a picture: a pair of bars per model and batch size, our time and that of the best peer.

python benchmarks/race_picture.py benchmarks/results/FILE.json OUT.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS, BEST = "#1f77b4", "#b0b0b0"  # readable on white and in print


def draw(document: dict[str, Any], path: str) -> None:
    """Bars of median milliseconds per image, shorter is better; ours says how many times faster than the best peer."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "cnnkern", "font.size": 10})
    import matplotlib.pyplot as plt

    heats = [heat for heat in document["heats"] if heat["correct"] and heat["best_peer"]]
    batches = sorted({heat["batch"] for heat in heats})
    rows = max(sum(heat["batch"] == batch for heat in heats) for batch in batches)
    figure, axes = plt.subplots(1, len(batches), figsize=(5 * len(batches), 1.6 + 0.55 * rows), squeeze=False)
    for axis, batch in zip(axes[0], batches):
        _bars(axis, [heat for heat in heats if heat["batch"] == batch])
        axis.set_title(f"batch {batch}", loc="left")
    machine = document["machine"]
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower right", ncols=2, frameon=False)
    figure.suptitle("Milliseconds per image, median, float32 (shorter is better)", x=0.02, ha="left")
    caption = f"{machine['cpu']}, {machine['isa']}, {machine['threads']} threads, {document['date'][:10]}"
    figure.text(0.02, 0.01, caption, color="#666666", fontsize=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None, dpi=150)


def _bars(axis, heats: list[dict[str, Any]]) -> None:
    several = any(len(heat["engines"]) > 2 for heat in heats)
    for row, heat in enumerate(heats):
        ours = heat["engines"][0]
        (best,) = (entry for entry in heat["engines"] if entry["engine"] == heat["best_peer"])
        for entry, offset, colour, label, note in (
            (ours, -0.19, OURS, ours["engine"], f"{heat['best_ratio']:.2f}x"),
            (best, 0.19, BEST, "the best peer" if several else best["engine"], best["engine"] if several else ""),
        ):
            ms = entry["time"]["median_ms"] / heat["batch"]
            axis.barh(row + offset, ms, 0.36, color=colour, label=label if row == 0 else None)
            axis.text(ms, row + offset, f" {ms:.2f}" + f"  ({note})" * bool(note), va="center", fontsize=8)
    axis.set_yticks(range(len(heats)), [heat["model"] for heat in heats])
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.25)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
