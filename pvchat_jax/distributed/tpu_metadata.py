"""What Google's metadata server tells a TPU virtual machine about itself and the other hosts of its pod."""

import importlib.util
import urllib.error
import urllib.request
from pathlib import Path

_DEVICES = ("accel[0-9]*", "vfio/[0-9]*")  # below /dev
_SERVER = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"


def tpu_metadata(name: str) -> str | None:
    """An attribute of this virtual machine; None where there is none, and on a machine without a TPU or without libtpu."""
    if not any(True for pattern in _DEVICES for _ in Path("/dev").glob(pattern)) or not importlib.util.find_spec("libtpu"):
        return None
    request = urllib.request.Request(_SERVER + name, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, TimeoutError):
        return None
