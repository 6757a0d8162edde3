"""The files that travel inside the package: a photograph, a digit, trained LeNet-5 weights (see README.md)."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def path(name: str) -> Path:
    """The path of a packaged file.

    Args:
        name: file name, such as "grace_hopper.jpg".
    Returns:
        Its absolute path.
    Raises:
        FileNotFoundError: no such file is in the package; the message lists those that are.
    Example:
        >>> from cnnkern import data
        >>> data.path("grace_hopper.jpg").suffix
        '.jpg'
    """
    if name not in names():
        raise FileNotFoundError(f"cnnkern.data holds no {name!r}; it holds {', '.join(names())}")
    return _FOLDER.resolve() / name


def names() -> list[str]:
    """The packaged files, by name.

    Example:
        >>> from cnnkern import data
        >>> "grace_hopper.jpg" in data.names()
        True
    """
    return sorted(p.name for p in _FOLDER.iterdir() if p.is_file() and p.suffix in (".jpg", ".png", ".npz"))
