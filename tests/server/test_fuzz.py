"""Requests drawn from the server's own description: none of them makes it fail, and what it answers is as described."""

from collections.abc import Iterator

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from tests.server.enrolled import registry_server
from tests.server.running import Running
from tests.server.stub import write_clip

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("fuzz")
    write_clip(folder / "videos" / "clip.mp4")
    with registry_server(folder, timeout=10.0) as running:
        yield running


@pytest.fixture(scope="module")
def described(server: Running) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_any_request(described: schemathesis.BaseSchema) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.validate_response(case.call(timeout=30), checks=list(CHECKS))

        check()


def test_the_server_is_still_there(server: Running) -> None:
    assert httpx2.get(f"{server.url}/health").json()["status"] == "ok"
    assert {person["name"] for person in httpx2.get(f"{server.url}/v1/subjects").json()["data"]} == {"Ada", "Wilson"}
