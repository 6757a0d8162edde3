"""The names of what lies between theory and execution, and a dict that fills with them.

An item is positive where less is executed than the textbook's formula says, negative where more is.
"""

from __future__ import annotations

from ....ops.base import Counts

SKIPPED = "skipped padding taps"  # products with the zeros around an image that are left out
SAVING = "algorithm saving"  # products that Winograd's algorithm, or a separable filter, does without
TRANSFORMS = "transforms"  # what it pays for that
OVERHANG = "tile overhang"  # outputs that its tiles compute beyond the image's edge
MERGED = "merged groups"  # products with the zero weights between groups that are computed together
LANES = "block padding"  # lanes of vectors beyond the last channel
FOLDED = "folded constants"  # a bias that a sum starts from, statistics that became a scale and a shift
FUNCTIONS = "clamps and functions"  # a clamp is two comparisons, an elementary function a polynomial
UNREAD = "unread inputs"  # what a stride steps over is never scaled
HALOS = "halos"  # inputs that neighbouring bands or tiles each fetch
PACKING = "packing"  # inputs copied into the order that tiles read them in
TRAFFIC = "repeated reads"  # operands read again, from caches, for want of registers
PASSES = "further passes"  # results between, written and read again
REGIONS = "regions"  # what hangs on where regions lie: theory takes no comparison, and every input once
IN_PLACE = "in place"  # what a move need not move


class Items(dict):
    """Item name -> Counts; what is nothing is left out, what comes twice is added."""

    def book(self, name: str, counts: Counts) -> None:
        total = self.get(name, Counts()) + counts
        if total != Counts():
            self[name] = total
        else:
            self.pop(name, None)
