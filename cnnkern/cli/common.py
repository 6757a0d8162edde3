"""What the verbs share: the parser, backend and ISA choice, models by name."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

GOOD, WRONG, USAGE = 0, 1, 2


class UsageError(Exception):
    """A request that cannot be served; its message is the line that the user sees."""


class Parser(argparse.ArgumentParser):
    """argparse, with one line per error and the nearest word where one was misspelt."""

    def __init__(self, **options: Any):
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} ({self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        words = [str(choice) for choice in action.choices]
        what = "verb" if action.dest == "verb" else "choice"
        raise argparse.ArgumentError(None, f"no {what} {value!r}; {nearest(str(value), words)}")


def nearest(word: str, words: Iterable[str], otherwise: str = "") -> str:
    """ "did you mean ...?" with up to three of `words`; where none is near `otherwise`, or all of them."""
    words = list(words)
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else otherwise or f"there is {', '.join(words)}"


# --- arguments


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="also write the stable machine format; - writes only that")


def add_place(parser: argparse.ArgumentParser, *, isa: bool = True, threads: bool = True) -> None:
    """Where to run: --backend, --isa, --threads."""
    parser.add_argument(
        "--backend", metavar="B", help="default: $CNNKERN_BACKEND, or the fastest there is: cpu, numba, reference"
    )
    if isa:
        parser.add_argument(
            "--isa", metavar="ISA", help="one, several with commas, or all; default: $CNNKERN_ISA or the best"
        )
    if threads:
        parser.add_argument("--threads", type=positive, metavar="N", help="default: as many as there are cores")


def positive(text: str) -> int:
    """An argument that counts something."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, received {text!r}")
    return value


def seconds(text: str) -> float:
    """A time to spend: more than none, no more than an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and at most 3600, received {text!r}")
    return value


def positives(text: str) -> tuple[int, ...]:
    """Comma-separated numbers: "1,16"."""
    return tuple(positive(part) for part in text.split(","))


# --- backends and ISAs


def backend_reasons() -> dict[str, str]:
    """Backend name -> "" where it is usable, else why not."""
    from .. import backends

    return backends.available()


def choose_backend(wanted: str | None) -> str:
    """The backend asked for, here or by CNNKERN_BACKEND, else the fastest there is, with a word of warning where that
    is not the compiled one.

    Raises UsageError for an unknown name or one that this installation cannot use.
    """
    from .. import backends, config

    wanted = wanted or config.get("backend")
    if wanted is None:
        found, why = backends.fastest()
        if why:
            warn(why)
        return found.name
    reasons = backend_reasons()
    if wanted not in reasons:
        raise UsageError(f"no backend {wanted!r}; {nearest(wanted, reasons)}")
    if reasons[wanted]:
        raise UsageError(f"backend {wanted!r} is not available: {reasons[wanted]}")
    return wanted


def warn(text: str) -> None:
    print(f"cnnkern: {text}", file=sys.stderr)


def choose_isas(wanted: str | None, backend: str) -> list[str | None]:
    """The ISAs to run one after the other: those named, all of them, or the one in use; [None] off the cpu backend.

    Raises UsageError for one that this CPU does not have.
    """
    if backend != "cpu":
        if wanted:
            raise UsageError(f"--isa chooses among the cpu backend's kernels; the backend here is {backend!r}")
        return [None]
    from .. import cpu_info

    info = cpu_info()
    available = list(info["isas"])
    if not wanted:
        return [info["isa"]]
    names = available if wanted == "all" else wanted.split(",")
    for name in names:
        if name not in available:
            raise UsageError(f"no ISA {name!r} on this CPU; it has {', '.join(available)}")
    return list(names)


@contextmanager
def forced(isa: str | None) -> Iterator[None]:
    """Within the block, plans are made for `isa`."""
    from .. import config

    if isa is None:
        yield
        return
    with config(isa=isa):
        yield


def thread_count(wanted: int | None) -> int:
    from .. import get_num_threads

    return wanted or get_num_threads()


# --- models


def is_file(name: str) -> bool:
    """Whether a MODEL is the path of an ONNX file."""
    return name.lower().endswith(".onnx")


def create_model(name: str, input_shape: tuple[int, int, int] | None = None) -> Any:
    """The model of an id, with its seeded weights, or of an ONNX file, which has its own shape."""
    from .. import models, onnx

    return onnx.load(name) if is_file(name) else models.create(name, input_shape=input_shape)


def known_weights(name: str) -> Any:
    """The weights that a model comes with: the file itself, the package's, or None where they are random."""
    from .. import models

    return name if is_file(name) else models.get(name).weights


def model_names(names: Iterable[str]) -> list[str]:
    """The ids that `names` stand for, "all" being every one, and paths of ONNX files, each once, in order; ValueError
    names the nearest."""
    from .. import models
    from ..report.text import natural

    found: dict[str, None] = {}
    for name in names:
        if is_file(name):
            found[name] = None
            continue
        meant = sorted(models.list(), key=natural) if name == "all" else (models.get(name).name,)
        found.update(dict.fromkeys(meant))
    return list(found)
