"""Whose request is next: clients take turns, however many requests each has sent."""

import collections
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pvchat_jax.server.refusals import Refusal

_Item = TypeVar("_Item")
_RETRY_SECONDS = 2


class FairQueue(Generic[_Item]):
    """Waiting requests of many clients, for several threads.

    Args:
      limit: requests that may wait. limit_per_client: of one client.
    """

    def __init__(self, limit: int, limit_per_client: int) -> None:
        self._limit, self._limit_per_client = limit, limit_per_client
        self._waiting: collections.OrderedDict[str, collections.deque[_Item]] = collections.OrderedDict()  # whose turn it is first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return self._count()

    def push(self, client: str, item: _Item) -> None:
        """Lines up a request.

        Raises:
          Refusal: 429 where the client has too many waiting, 503 where all together have.
        """
        with self._lock:
            own = self._waiting.get(client, ())
            if len(own) >= self._limit_per_client:
                message = f"{len(own)} of your requests are waiting, which is the most; send the next when some of them are answered."
                raise Refusal(429, message, retry_after=_RETRY_SECONDS)
            if self._count() >= self._limit:
                raise Refusal(503, f"{self._limit} requests are waiting, which is the most; try again soon.", retry_after=_RETRY_SECONDS)
            self._waiting.setdefault(client, collections.deque()).append(item)

    def pop(self, accepts: Callable[[_Item], bool]) -> _Item | None:
        """The oldest request of the next client whose oldest request is accepted; then it is the other clients' turn."""
        with self._lock:
            for client, items in self._waiting.items():
                if accepts(items[0]):
                    item = items.popleft()
                    self._waiting.move_to_end(client)
                    if not items:
                        del self._waiting[client]
                    return item
        return None

    def discard(self, item: _Item) -> bool:
        """Takes a request out of the line; whether it was in there."""
        with self._lock:
            for client, items in self._waiting.items():
                if item in items:
                    items.remove(item)
                    if not items:
                        del self._waiting[client]
                    return True
        return False

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))
