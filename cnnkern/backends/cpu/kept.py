"""The choices that autotuning keeps for this machine: a JSON file per CPU and instruction set in the cache folder."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ... import config
from .. import warn_once

FORMAT = 1
Choices = Mapping[str, Mapping[str, Any]]  # Problem.key -> the decision measured best


def path(cpu: str, isa: str) -> Path:
    """Where the choices of this CPU lie. Threads are part of a choice's key."""
    machine = re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-") or "cpu"
    return config.cache_folder() / f"autotune-{machine}-{isa}.json"


def load(cpu: str, isa: str) -> Choices:
    """What is kept; nothing where there is no file. A file that is none of ours is left alone, with one warning."""
    file = path(cpu, isa)
    try:
        stat = file.stat()
        return _read(file, stat.st_mtime_ns, stat.st_size, cpu, isa)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warn_once(("autotune", str(file)), f"{file} is ignored: {error}; `cnnkern autotune` writes it anew")
        return {}


def keep(cpu: str, isa: str, choices: Choices) -> Path:
    """Add choices to those kept, in one step that no reader sees half done. Returns the file."""
    file = path(cpu, isa)
    data = {"format": FORMAT, "cpu": cpu, "isa": isa, "choices": {**load(cpu, isa), **choices}}
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(data, out, indent=1, sort_keys=True)
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise
    return file


@lru_cache(maxsize=8)  # plans are made often, the file is written seldom
def _read(file: Path, mtime_ns: int, size: int, cpu: str, isa: str) -> Choices:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"not a JSON document ({error})") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"not of format {FORMAT}")
    if (data.get("cpu"), data.get("isa")) != (cpu, isa):
        raise ValueError(f"made for {data.get('cpu')!r} with {data.get('isa')!r}")
    choices = data.get("choices")
    if not isinstance(choices, dict) or not all(isinstance(choice, dict) for choice in choices.values()):
        raise ValueError("its choices are not objects by problem")
    return choices
