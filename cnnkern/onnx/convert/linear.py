"""Products of matrices: Gemm, MatMul, Einsum."""

from __future__ import annotations

import numpy as np

from ...ops import AddSpec, ExpandSpec, LinearSpec, MatMulSpec, ReduceSpec, TransposeSpec
from ...ops.base import product
from . import converter
from .common import dims, name_of, reshaped, scaled, taken, transposed


def flag(n, name: str) -> bool:
    return bool(n.attr(name, 0))


@converter("Gemm")
def gemm(b, n):
    """alpha A' B' + beta C: a linear layer where B is a constant, alpha and beta folded into it."""
    a, alpha, beta = b.value(n.inputs[0]), n.attr("alpha", 1.0), n.attr("beta", 1.0)
    if len(dims(b, a)) != 2 or len(b.shape(n.inputs[1])) != 2:
        raise ValueError(f"A and B must be matrices, got shapes {dims(b, a)} and {tuple(b.shape(n.inputs[1]))}")
    if flag(n, "transA"):
        a = b.emit(TransposeSpec((1, 0)), [a], "transA")
    matrix, c = b.const(n.inputs[1]), name_of(n, 2) if beta != 0 else ""
    if matrix is None or not matrix.size:
        right = b.value(n.inputs[1])
        if flag(n, "transB"):
            right = b.emit(TransposeSpec((1, 0)), [right], "transB")
        y = scaled(b, b.emit(MatMulSpec(), [a, right], "product" if c else ""), alpha, hint="alpha")
        return [_plus(b, y, c, beta)]
    if flag(n, "transB") and alpha == 1:
        weight = b.weight(n.inputs[1], "linear_weight")
    else:
        array = np.asarray(matrix, np.float32)
        weight = b.param((array if flag(n, "transB") else array.T) * np.float32(alpha), "weight", "linear_weight")
    bias, outputs = "", dims(b, weight)[0]
    if c and b.const(c) is not None and b.const(c).shape in ((), (1,), (1, 1), (outputs,), (1, outputs)):
        if b.const(c).shape == (outputs,) and beta == 1:
            bias = b.weight(c, "bias")
        else:
            row = np.asarray(b.const(c), np.float32).reshape(-1) * np.float32(beta)
            bias = b.param(np.broadcast_to(row, (outputs,)), "bias", "bias")
        c = ""
    return [_plus(b, b.emit(LinearSpec(), [a, weight, bias], "product" if c else ""), c, beta)]


def _plus(b, y: str, c: str, beta: float) -> str:
    """y + beta C, C broadcast to y."""
    if not c:
        return y
    added = scaled(b, b.value(c), beta, hint="beta")
    if AddSpec().infer(dims(b, y), dims(b, added))[0] != dims(b, y):
        raise ValueError(f"C of shape {dims(b, added)} does not broadcast to {dims(b, y)}")
    return b.emit(AddSpec(), [y, added])


@converter("MatMul")
def matmul(b, n):
    """With a constant matrix on the right the rows of A go through a linear layer."""
    a, matrix = b.value(n.inputs[0]), b.const(n.inputs[1])
    shape = dims(b, a)
    if matrix is None or matrix.ndim != 2 or len(shape) < 2 or not matrix.size or not product(shape):
        return [b.emit(MatMulSpec(), [a, b.value(n.inputs[1])])]
    weight = b.param(np.asarray(matrix, np.float32).T, "weight", "linear_weight")
    rows = reshaped(b, a, (product(shape[:-1]), shape[-1]), "rows")
    y = b.emit(LinearSpec(), [rows, weight, ""], "" if len(shape) == 2 else "product")
    return [reshaped(b, y, (*shape[:-1], matrix.shape[1]))]


# --- Einsum


def _terms(n, ranks: list[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the output; dimensions behind "..." get digits for labels."""
    left, arrow, right = n.attr("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"equation {n.attr('equation')!r} has {len(terms)} terms for {len(ranks)} inputs")
    spread = max((rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks) if "..." in t), default=0)
    if spread < 0 or spread > 10:
        raise ValueError(f"equation {n.attr('equation')!r} does not fit inputs of ranks {ranks}")
    digits = "0123456789"[:spread]
    full = []
    for term, rank in zip(terms, ranks):
        own = rank - len(term.replace("...", "")) if "..." in term else 0
        labels = term.replace("...", digits[spread - own :] if own > 0 else "")
        if len(labels) != rank or not all(c in digits or c.isalpha() for c in labels):
            raise ValueError(f"equation {n.attr('equation')!r}: the term {term!r} does not fit rank {rank}")
        full.append(labels)
    if arrow:
        return full, right.replace("...", digits)
    every = "".join(full)
    return full, digits + "".join(sorted(c for c in set(every) if every.count(c) == 1 and not c.isdigit()))


@converter("Einsum")
def einsum(b, n):
    """Diagonals, then sums over labels of one operand alone, then a stack of products at a time, then the output's
    order."""
    equation, arrays = f"equation {n.attr('equation')!r}", [b.value(name) for name in n.inputs]
    terms, out = _terms(n, [len(dims(b, x)) for x in arrays])
    if len(set(out)) < len(out) or not set(out) <= set("".join(terms)):
        raise ValueError(f"{equation}: the output's labels must differ, and be an input's")
    sizes: dict[str, int] = {}
    for labels, x in zip(terms, arrays):
        for label, size in zip(labels, dims(b, x)):
            if sizes.get(label, size) != size and not (label.isdigit() and 1 in (size, sizes[label])):
                raise ValueError(f"{equation}: {label!r} is {sizes[label]} and {size}")
            sizes[label] = size if sizes.get(label, 1) == 1 else sizes[label]
    if not all(sizes.values()):
        raise b.Decline("an empty operand")
    found = [_operand(b, i, labels, x, sizes) for i, (labels, x) in enumerate(zip(terms, arrays))]
    first, x = found[0]
    for i, (second, y) in enumerate(found[1:], 1):
        needed = set(out).union(*(labels for labels, _ in found[i + 1 :]))
        first, x = _summed(b, first, x, needed | set(second), f"sum{i}a")
        second, y = _summed(b, second, y, needed | set(first), f"sum{i}b")
        first, x = _product(b, (first, second), (x, y), sizes, needed, f"product{i}")
    first, x = _summed(b, first, x, set(out), "sum")
    return [transposed(b, x, [first.index(label) for label in out], "order")]


def _operand(b, i: int, labels: str, x: str, sizes) -> tuple[str, str]:
    """With each label once (the diagonal of those that are there twice), and a 1 behind "..." expanded."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            size, first = sizes[label], labels.index(label)
            second = labels.index(label, first + 1)
            rest = [axis for axis in range(len(labels)) if axis not in (first, second)]
            x = transposed(b, x, (*rest, first, second), f"pair{i}")
            x = reshaped(b, x, (*dims(b, x)[:-2], size * size), f"square{i}")
            x = taken(b, x, len(rest), 0, size + 1, size, f"diagonal{i}")
            labels = "".join(labels[axis] for axis in rest) + label
    whole = tuple(sizes[label] for label in labels)
    return labels, x if dims(b, x) == whole else b.emit(ExpandSpec(whole), [x], f"expand{i}")


def _summed(b, labels: str, x: str, needed, hint: str) -> tuple[str, str]:
    """Without the labels that nobody needs any more."""
    alone = tuple(axis for axis, label in enumerate(labels) if label not in needed)
    if alone:
        x = b.emit(ReduceSpec("sum", alone, False), [x], hint)
    return "".join(label for label in labels if label in needed), x


def _product(b, terms, arrays, sizes, needed, hint: str) -> tuple[str, str]:
    """Both as stacks of matrices (shared, own, summed) x (shared, summed, own)."""
    first, second = terms
    shared = [c for c in first if c in second and c in needed]
    summed = [c for c in first if c in second and c not in needed]
    own = [[c for c in term if c not in other] for term, other in ((first, second), (second, first))]
    batch = [product(sizes[c] for c in shared)] * bool(shared)
    rows, inner, columns = (product(sizes[c] for c in group) for group in (own[0], summed, own[1]))
    left = transposed(b, arrays[0], [first.index(c) for c in (*shared, *own[0], *summed)], f"{hint}_left")
    right = transposed(b, arrays[1], [second.index(c) for c in (*shared, *summed, *own[1])], f"{hint}_right")
    left = reshaped(b, left, (*batch, rows, inner), f"{hint}_left_matrix")
    right = reshaped(b, right, (*batch, inner, columns), f"{hint}_right_matrix")
    labels = "".join((*shared, *own[0], *own[1]))
    return labels, reshaped(b, b.emit(MatMulSpec(), [left, right], hint), [sizes[c] for c in labels], f"{hint}_unfold")
