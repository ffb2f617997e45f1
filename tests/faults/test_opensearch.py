"""The search index under faults: what is sent again, what is a dead letter, what ends the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from errors import DeliveryError, KinewaxError, MissingResourceError
from messages import Output, Reject
from service.aws import Aws
from service.check import probes_of, run_probe
from service.job import Job
from service.search import OpenSearch
from service.settings import Settings, Sinks
from tests.fakes.opensearch import FakeOpenSearch, fake_opensearch
from tests.fakes.sink_cases import IMPATIENT, SEARCH_PROPERTIES, change, search_sink
from tests.rig import wait_until
from tests.servers import FAKE_CREDENTIALS, REGION

NAMES = {f"change-{number}" for number in range(6)}


@pytest.fixture
def server() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as running:
        yield running


class Letters:
    """A dead-letter part that keeps what it gets."""

    def __init__(self) -> None:
        self.kept: list[Output] = []

    def write(self, items: list[Output]) -> None:
        self.kept += items

    def flush(self) -> None:
        pass

    def state(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


def deliver(sink, items):
    part = sink.open(sink.parts[0], None)
    try:
        part.write(items)
        part.flush()
        return part.state()["ledger"]
    finally:
        part.close()


def six():
    return [change(number) for number in range(6)]


def test_the_index_is_made_by_a_template_with_the_original_mapping(server) -> None:
    deliver(search_sink(server), six())
    [template] = server.templates.values()
    assert template["index_patterns"] == ["wiki"]
    settings = template["template"]["settings"]["index"]
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == (5, 0)
    assert template["template"]["mappings"] == {"properties": SEARCH_PROPERTIES}
    assert server.requests[0].method == "PUT", "the template is there before the first document"


def test_each_day_can_have_an_index_of_its_own(server) -> None:
    deliver(search_sink(server, daily=True), six())
    assert set(server.indexes) == {"wiki-2023.11.14"}
    [template] = server.templates.values()
    assert template["index_patterns"] == ["wiki-*"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, "es_rejected_execution_exception"),
        (503, "unavailable_shards_exception"),
        (500, "internal_server_error"),
    ],
)
def test_documents_that_failed_are_sent_again_alone(server, status: int, kind: str) -> None:
    server.refuse_items(lambda name: name in ("change-1", "change-4"), status, kind, times=4)
    ledger = deliver(search_sink(server), six())
    assert set(server.documents()) == NAMES
    assert ledger["search.written"] == ledger["search.taken"] == 6
    again = [name for bulk in server.bulks() for name in bulk]
    assert {name for name in NAMES if again.count(name) > 1} == {"change-1", "change-4"}


def test_a_document_that_does_not_fit_is_a_dead_letter_and_its_neighbours_are_not(server) -> None:
    letters = Letters()
    bad = change(2, change_timestamp="today")
    ledger = deliver(search_sink(server, dead_letters=lambda: letters), [change(1), bad, change(3)])
    assert set(server.documents()) == {"change-1", "change-3"}
    [letter] = letters.kept
    assert isinstance(letter, Reject)
    assert letter.reason == "refused_by_destination"
    assert "mapper_parsing_exception" in letter.detail
    assert b'"change_timestamp":"today"' in letter.payload
    assert ledger["search.written"] == 2
    assert ledger["search.dead_lettered"] == 1


def test_without_a_place_for_dead_letters_such_a_document_ends_the_run(server) -> None:
    with pytest.raises(DeliveryError, match="refuses an entry for good") as raised:
        deliver(search_sink(server), [change(2, change_timestamp="today")])
    assert "dead-letter" in raised.value.hint


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b'{"items":[]}'])
@pytest.mark.parametrize("status", [200, 429, 503])
def test_an_answer_that_says_nothing_is_asked_for_again(server, status: int, body: bytes) -> None:
    server.refuse("/_bulk", status, body, times=2)
    ledger = deliver(search_sink(server), six())
    assert set(server.documents()) == NAMES
    assert ledger["search.written"] == 6


def test_a_body_that_is_too_large_is_halved(server) -> None:
    server.refuse("/_bulk", 413, b"", times=1)
    deliver(search_sink(server), six())
    assert set(server.documents()) == NAMES


def test_what_is_sent_again_replaces_itself(server) -> None:
    deliver(search_sink(server), six())
    ledger = deliver(search_sink(server), six())
    assert len(server.documents()) == 6
    assert ledger["search.already_there"] == 6


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, KinewaxError, "not allowed"),
        (403, KinewaxError, "not allowed"),
        (404, MissingResourceError, "doesn't exist"),
        (400, KinewaxError, "invalid_index_name_exception"),
    ],
)
def test_what_somebody_must_mend_raises_at_once(server, status, error, said: str) -> None:
    body = b'{"error":{"type":"invalid_index_name_exception","reason":"as it is"},"status":400}'
    server.refuse("/_bulk", status, body if status == 400 else b'{"message":"no"}')
    with pytest.raises(error, match=said):
        deliver(search_sink(server), six())
    assert len(server.bulks()) == 1


def test_the_template_is_put_again_when_its_call_failed(server) -> None:
    server.refuse("/_index_template", 503, times=2)
    deliver(search_sink(server), six())
    assert server.templates
    assert set(server.documents()) == NAMES


def test_a_server_that_stays_away_raises_at_the_deadline(server) -> None:
    with server.away(), pytest.raises(DeliveryError, match="within"):
        deliver(search_sink(server, IMPATIENT), six())


def test_documents_can_be_found_by_id_at_once_and_by_search_soon(server) -> None:
    deliver(search_sink(server), six())
    client = OpenSearch(server.url, Aws(Settings().aws))
    status, body = client.request("GET", "/wiki/_doc/change-3", b"")
    assert status == 200
    assert b'"wiki": "enwiki"' in body

    def found() -> bool:
        return b'"value": 6' in client.request("GET", "/wiki/_search", b"")[1]

    wait_until(found, "all documents are found", 5)


def test_the_user_of_the_address_is_the_user_of_each_request(server) -> None:
    with_user = server.url.replace("http://", "http://kinewax:se%40cret@")
    OpenSearch(with_user, Aws(Settings().aws)).request("GET", "/wiki/_search", b"")
    headers = server.requests[0].headers
    assert headers["Authorization"] == "Basic a2luZXdheDpzZUBjcmV0"
    assert "se%40cret" not in headers["Host"]


def test_requests_are_signed_with_the_credentials_of_the_run(
    server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**FAKE_CREDENTIALS, "AWS_REGION": REGION}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("service.search._MANAGED_HOSTS", ("127.0.0.1",))
    OpenSearch(server.url, Aws(Settings().aws)).request("GET", "/wiki/_search", b"")
    authorization = server.requests[0].headers["Authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=")
    assert f"/{REGION}/es/aws4_request" in authorization


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [(200, None, "ok"), (403, b'{"message":"no"}', "denied"), (502, b"", "failed")],
)
def test_a_check_tells_whether_documents_may_be_written_and_writes_none(
    server, status: int, body: bytes | None, outcome: str
) -> None:
    if body is not None:
        server.refuse("/_bulk", status, body)
    with_user = server.url.replace("http://", "http://kinewax:secret@")
    settings = Settings(sinks=Sinks(to=(with_user,)))
    job = Job("wiki", "file:///nothing", settings, started_at_us=0)
    [finding] = [run_probe(probe) for probe in probes_of(job, Aws(settings.aws))]
    assert finding.outcome == outcome
    assert "secret" not in finding.resource
    assert not server.documents()
