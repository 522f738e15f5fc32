"""Stands for `pvchat_jax.personalize` and `pvchat_jax.subjects` in tests of enrolments: writes the same files, learns nothing.

fake_learning.py learn --video=FILE --out=DIR [--person=K]    what the video's name says: several, poor or broken ends it early
fake_learning.py add RUN FROM TO                               copies a person's folder into a registry
"""

import json
import shutil
import sys
import time
from pathlib import Path


def write(path: Path, value: object) -> None:
    """JSON, or text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def pause(options: dict[str, str], point: str) -> None:
    """Waits while there is a file of the point's name in the folder `hold`."""
    while Path(options["hold"], point).exists():
        time.sleep(0.02)


def learn(options: dict[str, str]) -> int:
    """The exit status of the real program."""
    pause(options, "begin")
    out, content = Path(options["out"]), Path(options["video"]).read_bytes()
    write(out / "subject.json", {"name": f"<{options['name']}>", "video": options["video"]})
    write(out / "consent.json", {"given_by": options["consent_by"], "date": "2026-01-01", "scope": ["train"], "expires": "2027-01-01"})
    for stage in ("watch", "find"):
        write(out / "stages" / stage / "ab" / "abc.json", {})
    if b"several" in content and "person" not in options:
        write(out / "people.html", "<!doctype html><title>People</title><h1>Person 0 and person 1</h1>")
        print("error: several people are seen in the video (0 for 2 s, 1 for 2 s); say which one with --person=K.", file=sys.stderr)
        return 2
    if b"broken" in content:
        print(f"error: no face was found in {options['video']}; film the person from nearer.", file=sys.stderr)
        return 2
    for stage in ("cast", "film", "generate", "ask"):
        write(out / "stages" / stage / "ab" / "abc.json", {})
    write(out / "contact_sheet.html", "<!doctype html><title>Sheet</title><h1>What was made</h1>")
    poor = b"poor" in content
    write(out / "verdict.json", {"is_good": not poor, "problems": ["too dark"] if poor else [], "remarks": [], "film_next": ["more light"]})
    if poor:
        return 1
    write(out / "stage2" / "config.json", {"num_steps": 30})
    for step in range(0, 31, 10):
        write(out / "stage2" / "metrics.jsonl", "".join(json.dumps({"step": past}) + "\n" for past in range(1, step + 1)))
        if step == 10:
            pause(options, "train")
    write(out / "evaluation" / "evaluation.json", {"scores": {"existence": {"balanced_accuracy": 0.975, "far": 0.03, "frr": 0.02}}})
    return 0


def main(action: str, *arguments: str) -> int:
    """The exit status."""
    if action == "add":
        assert Path(arguments[0]).is_dir()
        shutil.copytree(arguments[1], arguments[2])
        return 0
    return learn(dict(argument.removeprefix("--").split("=", 1) for argument in arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
