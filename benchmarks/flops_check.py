"""Over every architecture: are the operations that run the ones that were predicted, and is the rest accounted for?

    python benchmarks/flops_check.py                          # every network on every instruction set of this CPU
    python benchmarks/flops_check.py --isa avx2               # on one
    python benchmarks/flops_check.py resnet50 vgg16           # these networks, at their published sizes

For every layer of every network: predicted == executed, operation by operation and byte by byte, and theory - executed
== the sum of its items; a layer that was not counted is a fault. The largest networks run on smaller pictures unless
they are named (a tile, a tail or a halo is the same on fewer pixels). One line per network; exit codes: 0 all of it
holds, 1 something does not, 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from cnnkern import models
from cnnkern.cli.common import GOOD, USAGE, WRONG, UsageError, choose_backend, choose_isas, forced, model_names
from cnnkern.measure.accounting import ModelAccount, account
from cnnkern.measure.accuracy import shapes
from cnnkern.measure.pictures import inputs, smaller
from cnnkern.report.text import scaled, shape

FAULTS_SHOWN = 5


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("flops_check.py", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all, the largest on smaller pictures")
    parser.add_argument("--isa", default="all", metavar="ISA", help="one, several with commas, or all (all)")
    parser.add_argument("--threads", default=None, type=int, metavar="N", help="counts do not hang on it (all cores)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    try:
        names, isas = model_names(args.models or ["all"]), choose_isas(args.isa, choose_backend("cpu"))
    except (UsageError, ValueError) as error:
        print(f"flops_check.py: {error}", file=sys.stderr)
        return USAGE
    begin, wrong, layers = time.perf_counter(), [], 0
    for name in names:
        architecture = models.get(name)
        model = models.create(name, input_shape=None if args.models else smaller(architecture))
        x = inputs(name, model, 1)
        for isa in isas:
            with forced(isa):
                found = account(model.compile(input_shape=shapes(x), backend="cpu", threads=args.threads), x)
            layers += len(found.layers)
            print(line(name, isa, model.input_shape, architecture.input_shape, found), flush=True)
            if found.agrees is not True:
                wrong.append(f"{name} {isa}")
                print(*(f"    {fault}" for fault in reasons(found)), sep="\n", flush=True)
    runs = len(names) * len(isas)
    print(f"{runs - len(wrong)} of {runs} agree ({len(names)} networks, {', '.join(isas)}), {layers:,} layers in "
          f"{time.perf_counter() - begin:.0f} s" + (f"; wrong: {', '.join(wrong)}" if wrong else ""))  # fmt: skip
    return WRONG if wrong else GOOD


def line(name: str, isa: str, given: Sequence[int], published: Sequence[int], found: ModelAccount) -> str:
    """The totals of one network on one instruction set, and what lies between theory and executed, in FLOPs."""
    theory, executed = found.theory.flops, found.executed.flops if found.executed else None
    share = "" if executed is None or not theory else f" ({100 * executed / theory:.1f} %)"
    items = sorted(found.itemised.items(), key=lambda item: -abs(item[1].flops))
    gap = ", ".join(f"{what} {scaled(counts.flops)}" for what, counts in items if counts.flops) or "nothing"
    size = shape(given) + ("" if tuple(given) == tuple(published) else " reduced")
    verdict = {True: "ok", False: "WRONG", None: "NOT COUNTED"}[found.agrees]
    return (
        f"{verdict:<5} {name:<30} {isa:<7} {size:<19} {len(found.layers):>4} layers  theory {theory:,} FLOP, executed "
        f"{'-' if executed is None else f'{executed:,}'}{share}; theory - executed: {gap}"
    )


def reasons(found: ModelAccount) -> list[str]:
    faults = found.faults or ["no layer was counted"]
    more = len(faults) - FAULTS_SHOWN
    return faults[:FAULTS_SHOWN] + ([f"and {more:,} more"] if more > 0 else [])


if __name__ == "__main__":
    sys.exit(main())
