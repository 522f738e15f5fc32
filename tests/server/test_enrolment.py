"""Enrolling, adding and erasing people over HTTP; the learning itself is a program that writes the same files."""

from collections.abc import Iterator

import httpx2
import pytest

from pvchat_jax.config.pack_manifest import MANIFEST_FILE, TENSORS_FILE
from tests.server.enrolled import held, nora, registry_server
from tests.server.running import Running, until
from tests.server.stub import write_clip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("enrolments")
    clip = write_clip(folder / "videos" / "good.mp4").read_bytes()
    for word in ("several", "broken", "poor"):  # behind the end of the file, where no player looks
        (folder / "videos" / f"{word}.mp4").write_bytes(clip + b"\0\0\0\x40free" + word.encode().ljust(56))
    with registry_server(folder) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=300) as opened:
        yield opened


def request(video: str, name: str = "Nora", **changes: object) -> dict:
    return {"video": video, "name": name, "consent_by": "Nora", "consent_until": "2027-06-01", "agreed": True, **changes}


def wait(client: httpx2.Client, begun: dict) -> dict:
    def found() -> dict:
        return client.get(f"/v1/enrolments/{begun['id']}").json()

    until(lambda: found()["state"] != "running")
    return found()


def names(client: httpx2.Client) -> list[str]:
    return [person["name"] for person in client.get("/v1/subjects").json()["data"]]


def files_of(server: Running) -> dict[str, bytes]:
    pack = nora(server.folder)
    return {name: (pack / name).read_bytes() for name in (MANIFEST_FILE, TENSORS_FILE)}


def test_learning_somebody_to_the_end_and_erasing_them(client: httpx2.Client, server: Running) -> None:
    with held(server, "begin"):
        begun = client.post("/v1/enrolments", json=request("good.mp4")).json()
        assert begun["state"] == "running"
        assert client.post("/v1/enrolments", json=request("good.mp4", "Bob")).status_code == 409  # one at a time
    ended = wait(client, begun)
    assert (ended["state"], ended["message"]) == ("done", "Nora is enrolled.")
    assert {step["state"] for step in ended["steps"]} == {"done"}
    learning = next(step for step in ended["steps"] if step["name"] == "learn")
    assert (learning["done"], learning["total"]) == (30, 30)
    assert ended["scores"]["right about who is there"] == 0.975
    sheet = client.get(ended["sheet"])
    assert "What was made" in sheet.text and sheet.headers["Content-Security-Policy"].startswith("sandbox;")
    assert names(client) == ["Ada", "Nora", "Wilson"]
    assert "pvchat:Nora" in [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert list(server.folder.rglob("filmed")) == []  # the copy of the video
    assert client.post("/v1/enrolments", json=request("good.mp4")).status_code == 409  # the name is taken

    assert client.delete("/v1/subjects/Nora", params={"confirm": "Ada"}).status_code == 400
    assert "Nora" in names(client)
    erased = client.delete("/v1/subjects/nora", params={"confirm": "<Nora>"}).json()
    assert names(client) == ["Ada", "Wilson"]
    assert (server.folder / "people" / "receipts" / erased["receipt"]).is_file()
    left = [path for path in server.folder.rglob("*") if "nora" in path.name.lower() and "elsewhere" not in path.parts]
    assert left == [] and list((server.folder / "work").rglob("contact_sheet.html")) == []
    assert client.get("/v1/enrolments").json()["data"] == []
    assert client.delete("/v1/subjects/nora", params={"confirm": "nora"}).status_code == 404


def test_who_of_several_is_meant_is_asked(client: httpx2.Client, server: Running) -> None:
    asked = wait(client, client.post("/v1/enrolments", json=request("several.mp4")).json())
    assert asked["state"] == "choose" and "People" in client.get(asked["sheet"]).text
    with held(server, "begin"):
        chosen = client.post(f"/v1/enrolments/{asked['id']}/person", params={"person": 1}).json()
        assert chosen["state"] == "running"
        cancelled = client.delete(f"/v1/enrolments/{asked['id']}").json()
        assert cancelled["state"] == "cancelled"
    assert not (server.folder / "work" / "enrolments" / asked["id"]).exists()
    assert client.post(f"/v1/enrolments/{asked['id']}/person", params={"person": 1}).status_code == 409


def test_what_cannot_be_learnt_from_says_why(client: httpx2.Client, server: Running) -> None:
    broken = wait(client, client.post("/v1/enrolments", json=request("broken.mp4")).json())
    assert (broken["state"], broken["message"]) == ("failed", "no face was found in the video; film the person from nearer.")
    poor = wait(client, client.post("/v1/enrolments", json=request("poor.mp4")).json())
    assert poor["state"] == "failed" and poor["verdict"] == ["Problem: too dark.", "Film next: more light."]
    for changes, status in (
        ({"agreed": False}, 422),
        ({"consent_until": "2020-01-01"}, 400),
        ({"consent_until": "soon"}, 422),
        ({"name": "../x"}, 400),
        ({"name": "Wilson"}, 409),
        ({"video": "none.mp4"}, 404),
    ):
        refused = client.post("/v1/enrolments", json=request("good.mp4") | changes)
        assert refused.status_code == status and refused.json()["error"]["message"]
    assert names(client) == ["Ada", "Wilson"]


def test_adding_a_pack(client: httpx2.Client, server: Running) -> None:
    files = files_of(server)
    consent = {"consent_by": "Nora", "consent_until": "2027-06-01"}

    def add(parts: dict[str, bytes], **fields: str) -> httpx2.Response:
        return client.post("/v1/subjects", files=[("files", (name, content)) for name, content in parts.items()], data=fields)

    assert "consent" in add(files).json()["error"]["message"]
    assert "consent_until is missing" in add(files, consent_by="N").json()["error"]["message"]
    assert f"lacks {TENSORS_FILE}" in add({MANIFEST_FILE: files[MANIFEST_FILE]}, **consent).json()["error"]["message"]
    assert "no file of a pack" in add({**files, "../x.json": b""}).json()["error"]["message"]
    damaged = add({**files, TENSORS_FILE: b"nothing"}, **consent)
    assert damaged.status_code == 400 and "/" not in damaged.json()["error"]["message"].split(";")[0]
    added = add(files, **consent)
    assert added.json() | {"note": ""} == {
        "name": "Nora", "usable": True, "invented": False, "consent_by": "Nora", "consent_until": "2027-06-01", "note": ""
    }  # fmt: skip
    assert names(client) == ["Ada", "Nora", "Wilson"]
    assert client.delete("/v1/subjects/Nora", params={"confirm": "Nora"}).status_code == 200
