"""Where a figure comes from: the command to have it again, the date, the commit."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SETTINGS = ("CNNKERN_", "OMP_", "GOMP_", "KMP_", "ONEDNN_")  # variables that change what is measured


def provenance(argv: Sequence[str]) -> dict[str, Any]:
    """The keys "command", "date" and "commit" of a document; `argv` is what stood behind `cnnkern`."""
    return {"command": command(argv), "date": date(), "commit": commit()}


def command(argv: Sequence[str]) -> str:
    """What to type to have it again, with the settings that matter."""
    settings = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)]
    return shlex.join([*settings, "cnnkern", *argv])


def date() -> str:
    """Now, in UTC: "2030-01-31T12:00:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def commit() -> str | None:
    """The checkout this package lies in, with a + where files differ from it; None for an installed one, which may
    well lie in a checkout of something else."""
    git = ["git", "-C", str(Path(__file__).parent)]
    asked = (
        ("ls-files", "--error-unmatch", Path(__file__).name),
        ("rev-parse", "--short", "HEAD"),
        ("status", "--porcelain", "--untracked-files=no"),
    )
    try:
        _, head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout.strip() for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
