"""The `cnnkern` command: a file per verb. Exit codes: 0 good, 1 a check failed, 2 bad usage."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from .common import GOOD, USAGE, WRONG, Parser, UsageError

VERBS = {
    "info": "this machine: ISA, threads, measured peaks, backends and why one is absent",
    "models": "the architectures: parameters, MACs, input size",
    "summary": "a network's layers as a table",
    "run": "classify a picture",
    "features": "a layer's channels, or a convolution's filters, as a picture",
    "verify": "compare every available backend with the float64 reference",
    "flops": "theory, predicted and executed (counted) operations per layer",
    "autotune": "measure the selector's choices here and keep them for this machine",
    "regret": "what the choices for convolutions cost against the best measured",
    "bench": "run networks on a photograph: checked, counted, timed, raced against other engines",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code.

    Example:
        >>> main(["models", "resnet*", "--json", "-"])
    """
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
        args.argv = list(sys.argv[1:] if argv is None else argv)  # documents say how to have them again
        if args.verb is None:
            parser.print_help(sys.stderr)
            return USAGE
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return importlib.import_module(f".{args.verb}", __name__).run(args)
    except SystemExit as stop:  # argparse has printed its line, or --help or --version
        return stop.code if isinstance(stop.code, int) else USAGE
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:  # `cnnkern models | head`: the reader has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return GOOD
    except (UsageError, OSError, ValueError, TypeError, NotImplementedError) as error:
        if args.traceback:
            raise
        return _complain(_sentence(error), USAGE)
    except Exception as error:
        if args.traceback:
            raise
        return _complain(f"internal error: {_sentence(error)} (cnnkern --traceback ... shows where)", WRONG)


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Verbs import what they run only when they run, so that --help answers at once."""
    from .. import __version__

    parser = Parser(
        prog="cnnkern",
        description="CNN kernels: run, checked against a float64 reference, counted and timed.",
        epilog="Exit codes: 0 good, 1 a check failed, 2 bad usage. `cnnkern VERB --help` tells more.",
    )
    parser.add_argument("--version", action="version", version=f"cnnkern {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for verb, summary in VERBS.items():
        added = verbs.add_parser(verb, help=summary, description=summary[0].upper() + summary[1:] + ".")
        importlib.import_module(f".{verb}", __name__).add_arguments(added)
    return parser


def _show_warning(message, *_, **__) -> None:
    """The library's warnings (a fallback to the reference) as one line, like everything else here."""
    text = str(message)
    print(text if text.startswith("cnnkern: ") else f"cnnkern: {text}", file=sys.stderr)


def _sentence(error: BaseException) -> str:
    """An exception as one line: its message, or its kind where it has none or says little without it."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (ValueError, TypeError, NotImplementedError, UsageError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _complain(text: str, code: int) -> int:
    print(f"cnnkern: {text}", file=sys.stderr)
    return code
