"""What is counted, for Prometheus; no names and no texts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        one = {"registry": self._registry}
        self.requests = Counter("pvchat_requests", "Requests that were answered.", ["route", "status"], **one)
        self.seconds = Histogram("pvchat_request_seconds", "Time until the last byte.", ["route"], buckets=_SECONDS, **one)
        self.first_piece = Histogram("pvchat_first_piece_seconds", "Time until the first text of an answer.", buckets=_SECONDS, **one)
        self.waiting = Gauge("pvchat_waiting", "Requests in the queue.", **one)
        self.open = Gauge("pvchat_open", "Answers that are being decoded.", **one)
        self.batch = Histogram("pvchat_batch", "Answers that were decoded together in a step.", buckets=(1, 2, 4, 8, 16, 32, 64), **one)
        self.tokens = Counter("pvchat_tokens", "Tokens of answers.", **one)
        self.cancelled = Counter("pvchat_cancelled", "Answers that nobody waited for, by reason.", ["reason"], **one)
        self.looked = Counter("pvchat_videos_looked_at", "Videos that were encoded.", **one)
        self.uploads = Gauge("pvchat_upload_bytes", "Bytes of uploads that are kept.", **one)
        self.enrolments = Gauge("pvchat_enrolments_running", "Enrolments in progress.", **one)

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self._registry)
