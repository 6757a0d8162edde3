"""The last few things made, by key."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

MAX_KEPT = 8  # graphs, one per set of shapes; executables, each of which holds packed weights


class Recent:
    """The last few things made, by key. Two threads that ask for the same wait for one of them to make it."""

    def __init__(self, limit: int = MAX_KEPT):
        self._limit, self._items = limit, OrderedDict()
        self._lock, self._making = threading.Lock(), threading.Lock()

    def get(self, key: Any) -> Any:
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def get_or_make(self, key: Any, make: Callable[[], Any]) -> Any:
        found = self.get(key)
        if found is not None:
            return found
        with self._making:
            found = self.get(key)
            if found is None:
                found = make()
                self.keep(key, found)
            return found

    def keep(self, key: Any, made: Any) -> None:
        with self._lock:
            self._items[key] = made
            while len(self._items) > self._limit:
                self._items.popitem(last=False)

    def values(self) -> list[Any]:
        with self._lock:
            return list(self._items.values())

    def clear(self) -> None:
        with self._lock:
            self._items.clear()
