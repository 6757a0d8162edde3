"""Register tiles: the two inner loops that everything else only feeds, written in LLVM's own vectors.

A compiler that is given three nested loops does not keep a tile of sums in registers; one that is given vectors does.
Widths are of this machine: 16 floats with AVX-512, 8 with AVX, else 4.
"""

from __future__ import annotations

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)
_FUSED = ("contract",)


def _features() -> dict[str, bool]:
    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:  # LLVM does not know this machine
        return {}


_has = _features()
WIDTH = 16 if _has.get("avx512f") else 8 if _has.get("avx") else 4
ROWS = 8 if _has.get("avx512f") or _has.get("neon") else 4  # sums of 8 x 3 vectors fit in 32 registers, 4 x 3 in 16
VECTORS = 3
_WIDE = ir.VectorType(_FLOAT, WIDTH)


def _data(context, builder, kind, array):
    return context.make_array(kind)(context, builder, array).data


def _vector_at(builder, data, index):
    return builder.bitcast(builder.gep(data, [index]), _WIDE.as_pointer())


def _load(builder, data, index):
    return builder.load(_vector_at(builder, data, index), align=4)


def _all_lanes(builder, value):
    one = builder.insert_element(ir.Constant(_WIDE, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(_WIDE, ir.Undefined), mask)


def _fma(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


def _sums(builder, count):
    """Registers, all zero. (LLVM turns such slots into registers.)"""
    slots = [cgutils.alloca_once(builder, _WIDE) for _ in range(count)]
    for slot in slots:
        builder.store(ir.Constant(_WIDE, [0.0] * WIDTH), slot)
    return slots


def _add(builder, index, *numbers):
    for number in numbers:
        index = builder.add(index, ir.Constant(_INDEX, number) if isinstance(number, int) else number)
    return index


def make_tile(rows: int, vectors: int):
    """sums[at + i row + j] (+)= sum over t of w[w_at + t rows + i] x[x_at + offsets[t_at + t] + j], for i < rows and
    j < vectors WIDTH; "+" where `more`. Rows of x are so read wherever they lie, each WIDTH vectors long."""

    @intrinsic
    def tile(typingctx, sums, at, row, w, w_at, x, x_at, offsets, t_at, count, more):
        signature = types.void(sums, at, row, w, w_at, x, x_at, offsets, t_at, count, more)

        def codegen(context, builder, signature, arguments):
            kinds = signature.args
            sums, at, row, w, w_at, x, x_at, offsets, t_at, count, more = arguments
            sums, w, x, offsets = (_data(context, builder, kinds[i], arguments[i]) for i in (0, 3, 5, 7))
            slots = _sums(builder, rows * vectors)
            with cgutils.for_range(builder, count) as loop:
                t = loop.index
                here = builder.add(x_at, builder.load(builder.gep(offsets, [_add(builder, t_at, t)])))
                seen = [_load(builder, x, _add(builder, here, v * WIDTH)) for v in range(vectors)]
                w_here = builder.add(w_at, builder.mul(t, ir.Constant(_INDEX, rows)))
                for i in range(rows):
                    weight = builder.load(builder.gep(w, [_add(builder, w_here, i)]), align=4)
                    weight = _all_lanes(builder, weight)
                    for v in range(vectors):
                        slot = slots[i * vectors + v]
                        builder.store(_fma(builder, weight, seen[v], builder.load(slot)), slot)
            zero = ir.Constant(_WIDE, [0.0] * WIDTH)
            for i in range(rows):
                for v in range(vectors):
                    place = _add(builder, at, builder.mul(row, ir.Constant(_INDEX, i)), v * WIDTH)
                    before = builder.select(more, _load(builder, sums, place), zero)
                    total = builder.fadd(builder.load(slots[i * vectors + v]), before)
                    builder.store(total, _vector_at(builder, sums, place), align=4)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def make_dots(rows: int, columns: int):
    """y[at + j row + i] = sum over t < count of w[w_at + i w_row + t] x[x_at + j x_row + t], for i < rows, j < columns;
    `count` is a multiple of WIDTH. "+=" where `more`."""

    @intrinsic
    def dots(typingctx, y, at, row, w, w_at, w_row, x, x_at, x_row, count, more):
        signature = types.void(y, at, row, w, w_at, w_row, x, x_at, x_row, count, more)

        def codegen(context, builder, signature, arguments):
            kinds = signature.args
            y, at, row, w, w_at, w_row, x, x_at, x_row, count, more = arguments
            y, w, x = (_data(context, builder, kinds[i], arguments[i]) for i in (0, 3, 6))
            slots = _sums(builder, rows * columns)
            step = ir.Constant(_INDEX, WIDTH)
            with cgutils.for_range(builder, builder.sdiv(count, step)) as loop:
                t = builder.mul(loop.index, step)
                seen = [
                    _load(builder, x, _add(builder, x_at, builder.mul(x_row, ir.Constant(_INDEX, j)), t))
                    for j in range(columns)
                ]
                for i in range(rows):
                    place = _add(builder, w_at, builder.mul(w_row, ir.Constant(_INDEX, i)), t)
                    weights = _load(builder, w, place)
                    for j in range(columns):
                        slot = slots[i * columns + j]
                        builder.store(_fma(builder, weights, seen[j], builder.load(slot)), slot)
            for i in range(rows):
                for j in range(columns):
                    total = _reduced(builder, builder.load(slots[i * columns + j]))
                    place = builder.gep(y, [_add(builder, at, builder.mul(row, ir.Constant(_INDEX, j)), i)])
                    before = builder.select(more, builder.load(place, align=4), ir.Constant(_FLOAT, 0.0))
                    builder.store(builder.fadd(total, before), place, align=4)
            return context.get_dummy_value()

        return signature, codegen

    return dots


def _reduced(builder, vector):
    """The sum of all lanes, halves first."""
    width = WIDTH
    while width > 1:
        width //= 2
        nothing = ir.Constant(vector.type, ir.Undefined)
        half = ir.VectorType(ir.IntType(32), width)
        low = builder.shuffle_vector(vector, nothing, ir.Constant(half, list(range(width))))
        high = builder.shuffle_vector(vector, nothing, ir.Constant(half, list(range(width, 2 * width))))
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@intrinsic
def bits_of(typingctx, x):
    """A float32's bits as an int32."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def float_of(typingctx, bits):
    """The float32 with these bits, an int32."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], _FLOAT)

    return types.float32(types.int32), codegen


@intrinsic
def claim(typingctx, counter):
    """The next unit that nobody else has claimed: counter[0], which then is one more."""

    def codegen(context, builder, signature, arguments):
        data = _data(context, builder, signature.args[0], arguments[0])
        return builder.atomic_rmw("add", data, ir.Constant(_INDEX, 1), "monotonic")

    return types.int64(counter), codegen


tiles = {(rows, vectors): make_tile(rows, vectors) for rows in (ROWS, 4, 1) for vectors in range(1, VECTORS + 1)}
dots_one, dots_each, dots_four = make_dots(1, 1), make_dots(4, 1), make_dots(4, 4)
