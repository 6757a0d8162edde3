"""The one pattern that most families share."""

from __future__ import annotations

from ..graph.builder import GraphBuilder, Pair


def conv_norm_act(
    g: GraphBuilder,
    x: str,
    name: str,
    channels: int,
    kernel: Pair,
    stride: int = 1,
    padding: Pair | None = None,
    groups: int = 1,
    act: str | None = "relu",
    eps: float = 1e-5,
    names: tuple[str, str, str] = ("0", "1", "2"),
) -> str:
    """Convolution without bias, batch norm, activation, as the layers `<name>.<names[i]>`.

    `padding` None is half the kernel, which keeps the size at stride 1; `act` None leaves the activation out.
    """
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    with g.scope(name):
        x = g.conv(x, names[0], channels, kernel, stride, padding, groups=groups, bias=False)
        x = g.batch_norm(x, names[1], eps)
        return g.activation(x, act, names[2]) if act else x
