"""Security as tests of the whole kind: every route, and every way in that must stay shut."""

import asyncio
import re
import threading
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gradlogp.app import Library, Place, create
from gradlogp.app.guard import BODY, HEADERS, Rules
from gradlogp.app.server import BODIES, STATIC
from gradlogp.app.worker import THREADS, Superseded, Worker
from gradlogp.core.errors import UserError

HOST = "http://localhost"
ROUTES = create(Library()).routes
READS = sorted(r.path for r in ROUTES if isinstance(r, APIRoute) and "GET" in r.methods)
CHANGES = sorted(r.path for r in ROUTES if isinstance(r, APIRoute) and "POST" in r.methods)
SOCKETS = sorted(r.path for r in ROUTES if isinstance(r, APIWebSocketRoute))
TOKEN = "a-token-of-some-length"


@cache
def built(**rules):
    return create(Library(), rules=Rules(**rules))


def studio(**rules):
    return TestClient(built(**rules), base_url=HOST)


def test_every_route_is_covered_here():
    assert len(READS) >= 5 and len(CHANGES) >= 6 and len(SOCKETS) == 2
    assert all(r.methods <= {"GET", "HEAD", "POST"} for r in ROUTES if isinstance(r, APIRoute))


@pytest.mark.parametrize("path", ["/", "/main.js", *READS, *CHANGES])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.2", "[::"])
def test_no_route_answers_to_another_host(path, host):
    for method in ("GET", "POST"):
        answer = studio().request(method, path, headers={"host": host, "origin": f"http://{host}"})
        assert answer.status_code == 400 and "host" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765"])
def test_this_machine_s_own_names_are_answered(host):
    assert studio().get("/api/densities", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "https://localhost.evil", "http://localhost:1", "//"],
)
def test_nothing_is_changed_by_a_page_of_another_site(path, origin):
    headers = {"origin": origin} if origin else {}
    answer = studio().post(path, json={}, headers=headers)
    assert answer.status_code == 403 and "own page" in answer.json()["error"]


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_no_form_can_be_sent(path, kind):
    headers = {"origin": HOST, "content-type": kind}
    assert studio().post(path, content="{}", headers=headers).status_code == 415


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_no_page_of_another_site_opens_a_websocket(path, origin):
    headers = {"host": "localhost", **({"origin": origin} if origin else {})}
    with pytest.raises(WebSocketDisconnect), studio().websocket_connect(path, headers=headers):
        pass


@pytest.mark.parametrize("path", CHANGES)
def test_no_body_is_longer_than_its_route_takes(path):
    most = BODIES.get(path, BODY)
    headers = {"origin": HOST, "content-type": "application/json"}
    said = studio().post(path, content=b" " * (most + 1), headers=headers)
    assert said.status_code == 413 and f"{most:,}" in said.json()["error"]
    parts = (b" " * 65536 for _ in range(most // 65536 + 2))  # chunked: no length is told
    assert studio().post(path, content=parts, headers=headers).status_code == 413
    assert studio().post(path, content=b" " * most, headers=headers).status_code != 413


@pytest.mark.parametrize("path", ["/", "/main.js", "/studio.css", *READS, *CHANGES])
def test_with_a_token_nothing_is_answered_without_it(path):
    for method in ("GET", "POST"):
        answer = studio(token=TOKEN).request(method, path, json={}, headers={"origin": HOST})
        assert answer.status_code == 401 and TOKEN not in answer.text
        wrong = {"origin": HOST, "authorization": f"Bearer {TOKEN}x"}
        assert studio(token=TOKEN).request(method, path, json={}, headers=wrong).status_code == 401


@pytest.mark.parametrize("path", SOCKETS)
def test_with_a_token_no_websocket_opens_without_it(path):
    headers = {"host": "localhost", "origin": HOST}
    with (
        pytest.raises(WebSocketDisconnect),
        studio(token=TOKEN).websocket_connect(path, headers=headers),
    ):
        pass
    bearing = {**headers, "cookie": f"gradlogp={TOKEN}"}
    with studio(token=TOKEN).websocket_connect(path, headers=bearing) as socket:
        socket.send_text("{}")
        assert "error" in socket.receive_json()


def test_the_printed_address_lets_its_browser_in_and_hides_the_token():
    client = studio(token=TOKEN)
    answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    assert re.search(r"HttpOnly; SameSite=Strict", answer.headers["set-cookie"])
    assert client.get("/api/densities").status_code == 200
    assert studio(token=TOKEN).get("/", params={"token": "x"}).status_code == 401
    assert studio(token=TOKEN).get("/api/densities", params={"token": TOKEN}).status_code == 401


@pytest.mark.parametrize("path", ["/", "/main.js", "/nowhere", *READS])
def test_every_answer_forbids_what_is_not_ours(path):
    answer = studio().get(path)
    assert HEADERS.items() - {("content-security-policy", HEADERS["content-security-policy"])} <= (
        answer.headers.items()
    )
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe-eval" not in policy
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/%2e%2e/server.py", "/..%2fserver.py", "/static/..//server.py"]
)
def test_no_path_leads_out_of_the_page_s_files(path):
    answer = studio().get(path)
    assert answer.status_code == 404 and "FastAPI" not in answer.text


def test_the_page_names_no_other_host_and_bears_no_code_inside():
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[\w-]+\.[a-z]{2,}", text), file.name
        if file.suffix == ".html":
            assert "<style" not in text and not re.search(r"<script(?![^>]*src=)|\son\w+=", text)


def test_a_fault_is_one_line_that_tells_an_attacker_nothing(client, library, monkeypatch):
    def broken():
        raise RuntimeError("a secret of /home")

    monkeypatch.setattr(library, "places", broken)
    with TestClient(client.app, base_url=HOST, raise_server_exceptions=False) as quiet:
        answer = quiet.get("/api/models")
    assert answer.status_code == 500 and "secret" not in answer.text and "error" in answer.json()


# --- where it listens ---


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.7"])
def test_this_machine_alone_needs_no_token(host):
    place = Place(host)
    assert place.local and place.rules().token is None and "token" not in place.address(1)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_beyond_this_machine_there_is_always_a_token(host):
    place = Place(host)
    assert not place.local and len(place.rules().token) >= 24
    assert place.rules().token in place.address(1)
    assert Place(host).secret != place.secret
    assert Place(host, token=TOKEN).rules().token == TOKEN


def test_beyond_this_machine_addresses_are_answered_and_names_that_could_be_rebound_are_not():
    client = studio(addresses=True, token=TOKEN)
    bearing = {"authorization": f"Bearer {TOKEN}"}
    for host, status in (("192.168.1.5:8765", 200), ("[fe80::1]:1", 200), ("evil.example", 400)):
        answer = client.get("/api/densities", headers={"host": host, **bearing})
        assert answer.status_code == status, host


def test_a_port_that_is_taken_is_said_in_a_line():
    with (
        Place(port=0).bound() as taken,
        pytest.raises(UserError, match=r"port \d+ is taken; choose another with --port"),
    ):
        Place(port=taken.getsockname()[1]).bound()


# --- newest request wins ---


def test_of_requests_that_wait_the_newest_alone_is_computed():
    async def scene():
        worker, done, gate = Worker(), [], threading.Event()
        busy = [asyncio.create_task(worker.run(gate.wait)) for _ in range(THREADS)]
        await asyncio.sleep(0)

        def asked(key, i):
            return asyncio.create_task(worker.newest(key, lambda: done.append(i)))

        asks = [*(asked("restore", i) for i in range(5)), asked("field", "field")]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*asks, *busy, return_exceptions=True)
        worker.close()
        return done, results

    done, results = asyncio.run(scene())
    assert sorted(done, key=str) == [4, "field"]
    assert [isinstance(r, Superseded) for r in results[:5]] == [True] * 4 + [False]


def test_a_ninth_window_takes_the_place_of_the_first(client, watch):
    with ExitStack() as stack:
        first = stack.enter_context(watch("/ws/particles"))
        for _ in range(8):
            stack.enter_context(watch("/ws/particles")).send_json(
                {"do": "begin", "density": "rings"}
            )
        with pytest.raises(WebSocketDisconnect):
            first.receive_json()


def test_the_page_s_files_travel_in_the_wheel():
    config = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'packages = ["src/gradlogp"]' in config and STATIC.is_relative_to(
        Path(__file__).parents[2] / "src/gradlogp"
    )
