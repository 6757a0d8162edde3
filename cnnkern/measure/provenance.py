"""Where a figure comes from: the command to have it again, the date, the commit."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

SETTINGS = ("CNNKERN_", "OMP_", "GOMP_", "KMP_", "ONEDNN_")  # variables that change what is measured
PACKAGE = Path(__file__)


def provenance(*words: str, file: Path = PACKAGE) -> dict[str, Any]:
    """The keys "command", "date" and "commit" of a document that a command of these words makes; `file`: a script's."""
    return {"command": command(*words), "date": date(), "commit": commit(file)}


def command(*words: str) -> str:
    """What to type to have it again, with the settings that matter."""
    settings = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)]
    return shlex.join([*settings, *words])


def date() -> str:
    """Now, in UTC: "2030-01-31T12:00:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def commit(file: Path) -> str | None:
    """The checkout that has this file, the package's own or a script's, with a + where files differ from it; None for
    an installed one, which may well lie in a checkout of something else."""
    git = ["git", "-C", str(file.parent)]
    asked = (
        ("ls-files", "--error-unmatch", file.name),
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
