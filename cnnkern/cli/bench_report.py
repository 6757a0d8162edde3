"""`cnnkern bench --html --png --show`: its document as a page, as pictures, and an old one again."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .common import GOOD, WRONG, UsageError


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--html", metavar="FILE", help="also write a page: one file, which asks for no other")
    parser.add_argument("--png", metavar="DIR", help="also write the plots alone, a file per plot and network")
    parser.add_argument(
        "--show", metavar="FILE", help="an earlier file of --json instead of measuring, for --html and --png as well"
    )


def check_report(args: argparse.Namespace) -> None:
    """Before anything is measured, raise UsageError where an output cannot be written or what it needs is missing."""
    if args.show and (args.models or args.peers or args.worst or args.compare or args.ops is not None):
        raise UsageError("--show reads a file and measures nothing: no MODEL, --ops, --peers, --worst or --compare")
    if (args.html or args.png) and (args.compare or args.ops is not None):
        raise UsageError("--html and --png show networks: not with --ops or --compare")
    if args.html == "-":
        raise UsageError("--html takes the name of a file; only --json writes to standard output")
    for option, path in (("--html", args.html), ("--json", args.json if args.json != "-" else None)):
        if path:
            _check_file(option, Path(path))
    if args.png:
        _check_folder("--png", Path(args.png))
        from ..report import grid

        try:
            grid.figure()
        except ImportError as error:
            raise UsageError(str(error)) from None


def _check_file(option: str, path: Path) -> None:
    """By writing nothing to it: permissions alone do not tell."""
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder; a file is wanted")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: {path}: there is no folder {path.parent}")
    before = path.exists()
    try:
        path.open("a").close()
        if not before:
            path.unlink()
    except OSError as error:
        raise UsageError(f"{option}: {path} cannot be written: {error.strerror}") from None


def _check_folder(option: str, path: Path) -> None:
    """By making it, and a file in it for a moment."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option}: {path} is a file; a folder is wanted")
    if not path.exists() and not path.parent.is_dir():
        raise UsageError(f"{option}: {path}: there is no folder {path.parent}")
    try:
        path.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UsageError(f"{option}: {path} cannot be written: {error.strerror}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def write_report(document: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Write a document wherever it is wanted, and say where the pictures are."""
    from ..measure import schema
    from ..report import console

    written = []
    if args.json:
        schema.write(document, args.json)
    if args.html:
        from ..report import html

        Path(args.html).write_text(html.page(document), encoding="utf-8")
        written.append(args.html)
    if args.png:
        from ..report import plots

        written += [str(path) for path in plots.save(document, args.png)]
    if args.json != "-":
        for path in written:
            console.output().print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def show(args: argparse.Namespace) -> int:
    """An earlier document again, on the screen and wherever else it is wanted."""
    from ..measure.older import completed
    from ..report import console, shown

    try:
        found = json.loads(Path(args.show).read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        raise UsageError(f"{args.show}: not a JSON document: {error}") from None
    try:
        document = completed(found)
    except ValueError as error:
        raise UsageError(f"{args.show}: {error}") from None
    if args.json != "-":
        console.output().print(shown.shown(document))
    write_report(document, args)
    return GOOD if document["good"] else WRONG
