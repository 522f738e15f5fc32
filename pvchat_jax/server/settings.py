"""Where the server keeps things, and how much of anything it accepts."""

import dataclasses
from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What `python -m pvchat_jax.serve` was told, and limits.

    Attributes:
      workspace: folder of uploads, which are removed at the end, and of enrolments, which stay.
      videos: folder whose videos clients may name by path; None allows no paths.
      roots: folders with training sets, runs and indices of people, who are erased there too.
      corpus: videos of other people for enrolments; None where there are none.
      keys: one of them has to come with every request; none on loopback.
      hosts: names under which the server may be addressed, which a page of another site cannot make a browser lie about.
      upload_bytes: of one video. all_upload_bytes: of all that are kept. upload_ttl: seconds for which an unused upload is kept.
      body_bytes: of any other request, videos inside of `data:` addresses included.
      video_seconds, video_pixels: of a video's length and of one of its frames.
      queue, queue_per_client: requests that may wait.
      timeout: seconds after which an answer is given up.
      slots: answers about one person that are decoded at a time.
      prompt_tokens: of a conversation, without its video. answer_tokens: of the longest answer that can be asked for.
      beams: the most that can be asked for.
      windows: of a timeline.
      subjects: people in one question.
      log_content: whether names and questions are logged.
    """

    workspace: Path
    videos: Path | None = None
    roots: tuple[Path, ...] = ()
    corpus: Path | None = None
    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = LOOPBACK
    upload_bytes: int = 512 * 2**20
    all_upload_bytes: int = 8 * 2**30
    upload_ttl: float = 3600.0
    body_bytes: int = 48 * 2**20
    video_seconds: float = 3 * 3600.0
    video_pixels: int = 8192 * 4320
    queue: int = 256
    queue_per_client: int = 64
    timeout: float = 120.0
    slots: int = 16
    prompt_tokens: int = 512
    answer_tokens: int = 256
    beams: int = 8
    windows: int = 240
    subjects: int = 8
    log_content: bool = False
