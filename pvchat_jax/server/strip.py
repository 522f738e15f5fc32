"""Where in a video people are: windows of equal length over all of it, each looked at like a video of its own."""

from collections.abc import Sequence
from typing import NamedTuple

from pvchat_jax.assistant.presence import Presence
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.server.asking import Asking
from pvchat_jax.server.library import Video
from pvchat_jax.server.looking import Looks, require_somebody

_AT_A_TIME = 16  # windows, between which others have their turn


class Window(NamedTuple):
    """`start` and `end` in seconds; `presence` by name."""

    start: float
    end: float
    presence: dict[str, Presence]


async def look_along(
    asking: Asking, looks: Looks, video: Video, names: Sequence[str], bounds: Sequence[tuple[float, float]], num_frames: int, client: str
) -> list[Window]:
    """Who is there between each two `bounds`.

    Args:
      num_frames: that the model sees of a window.

    Raises:
      Refusal: the video cannot be read, or somebody may not be asked about.
    """
    windows: list[Window] = []
    for first in range(0, len(bounds), _AT_A_TIME):
        part = bounds[first : first + _AT_A_TIME]
        times = [[start + (end - start) * (frame + 0.5) / num_frames for frame in range(num_frames)] for start, end in part]
        watched = await looks.windows(video, times, client)
        found = {name: await _presence(asking, watched, name, client) for name in names}
        windows += [Window(*bound, {name: of[number] for name, of in found.items()}) for number, bound in enumerate(part)]
    return windows


async def _presence(asking: Asking, watched: list[Watched], name: str, client: str) -> list[Presence]:
    return await asking.call(client, lambda assistant: require_somebody(assistant).presence(watched, name))


def even_bounds(seconds: float, window: float, most: int) -> list[tuple[float, float]]:
    """Windows of about `window` seconds that fill `seconds`, at most `most` of them."""
    count = max(1, min(most, round(seconds / window)))
    return [(seconds * number / count, seconds * (number + 1) / count) for number in range(count)]
