"""`cnnkern info`: what this machine is and can do, measured."""

from __future__ import annotations

import argparse

from .common import GOOD, add_json, backend_reasons


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import config
    from ..backends.cuda.device import cuda_info
    from ..measure import counters, schema
    from ..measure.profile import machine_profile
    from ..report import console, tables

    with console.progress() as line:
        line.say("measuring the peak of this machine")
        machine = machine_profile()
    reasons = backend_reasons()
    settings, cuda = config.settings(), cuda_info()
    source, refusal = counters.granted()
    if args.json:
        backends = [{"name": name, "available": not reason, "reason": reason} for name, reason in reasons.items()]
        read = {"granted": not refusal, "source": source, "reason": refusal}
        body = {"machine": machine.as_dict(), "backends": backends, "cuda": cuda, "settings": settings}
        document = schema.document("info", **body, counters=read)
        schema.write(document, args.json)
    if args.json != "-":
        described = {s.variable: (settings[s.variable], s.help) for s in config.SETTINGS.values()}
        console.output().print(tables.info(machine, reasons, described, cuda, (source, refusal)))
    return GOOD
