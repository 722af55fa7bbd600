"""The built page: what is cached how long, what it may load, and what stays the API's."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.runtime import Runtime
from tests.fixtures import MakeSettings

HTML = b"<!doctype html><title>shop</title><script type=module src=/assets/a-1.js></script>" + (
    b"<p>words and words" * 40
)
SCRIPT = b"console.log('hello');" * 200


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build leaves."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_bytes(HTML)
    (folder / "favicon.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "assets/a-1.js").write_bytes(SCRIPT)
    (folder / "assets/inter-1.woff2").write_bytes(b"a font " * 99)
    return folder


@pytest.fixture(scope="module")
def page(shared_client: TestClient, dist: Path) -> TestClient:
    """An application with that page, on the parts of the shared one; with the default limits."""
    runtime: Runtime = shared_client.app.state.runtime  # type: ignore[attr-defined]
    settings = runtime.settings.model_copy(update={"rate_limit_enabled": True})
    app = create_app(settings, runtime, page=dist)
    app.state.runtime = runtime
    return TestClient(app, raise_server_exceptions=False)


def test_the_page_is_asked_for_anew_each_time_and_costs_nothing_when_it_is_the_same(
    page: TestClient,
) -> None:
    first = page.get("/", headers={"Accept-Encoding": "identity"})
    again = page.get("/", headers={"If-None-Match": first.headers["ETag"]})
    other = page.get("/", headers={"If-None-Match": 'W/"0123"'})

    assert first.content == HTML
    assert first.headers["Content-Type"] == "text/html; charset=utf-8"
    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert other.status_code == 200


def test_what_is_named_by_its_content_is_kept_for_ever(page: TestClient) -> None:
    answer = page.get("/assets/a-1.js")

    assert answer.content == SCRIPT
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/", "/favicon.svg", "/assets/a-1.js", "/assets/gone.js"])
def test_nothing_of_the_page_is_sniffed(page: TestClient, path: str) -> None:
    answer = page.get(path)

    assert answer.headers.get("X-Content-Type-Options") == (
        "nosniff" if answer.status_code == 200 else None
    )


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "x-gzip"])
def test_text_is_packed_for_those_who_can_unpack_it(page: TestClient, accepted: str) -> None:
    with page.stream("GET", "/assets/a-1.js", headers={"Accept-Encoding": accepted}) as answer:
        packed = b"".join(answer.iter_raw())

    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert int(answer.headers["Content-Length"]) == len(packed) < len(SCRIPT)
    assert gzip.decompress(packed) == SCRIPT


@pytest.mark.parametrize("accepted", ["identity", "", "br", "gzip;q=0", "gzip; q=0.0, *"])
def test_nothing_is_packed_for_those_who_did_not_ask(page: TestClient, accepted: str) -> None:
    answer = page.get("/assets/a-1.js", headers={"Accept-Encoding": accepted})

    assert "Content-Encoding" not in answer.headers
    assert answer.content == SCRIPT


def test_a_font_is_not_packed_twice(page: TestClient) -> None:
    answer = page.get("/assets/inter-1.woff2")

    assert answer.headers["Content-Type"] == "font/woff2"
    assert "Content-Encoding" not in answer.headers


def test_answers_of_the_api_are_never_packed(page: TestClient) -> None:
    """Secrets beside what a stranger chooses can be guessed by the length (BREACH)."""
    answer = page.get("/api/openapi.json", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in answer.headers


def test_the_page_may_load_and_be_framed_by_nothing_else(page: TestClient) -> None:
    headers = page.get("/").headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["font-src"] == "'self'"
    assert policy["img-src"] == "'self' blob: data:"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "camera=(self)" in headers["Permissions-Policy"]


@pytest.mark.parametrize("path", ["/", "/assets/a-1.js", "/favicon.svg"])
def test_head_is_get_without_a_body(page: TestClient, path: str) -> None:
    get, head = page.get(path), page.head(path)

    assert (head.status_code, head.content) == (200, b"")
    same = ("ETag", "Cache-Control", "Content-Type", "Content-Length")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]


@pytest.mark.parametrize(
    "path",
    [
        "/api/nothing",
        "/api",
        "/no-such-page",
        "/index.html",
        "/assets/",
        "/assets/gone.js",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/assets/..%2f..%2fpyproject.toml",
        "/%2e%2e/pyproject.toml",
    ],
)
def test_what_is_not_there_is_a_problem_and_not_the_page(page: TestClient, path: str) -> None:
    answer = page.get(path)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("DELETE", "/assets/a-1.js", "GET, HEAD, OPTIONS"),
        ("PUT", "/api/tryon/sessions", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_the_page_takes_no_method_from_the_api(
    page: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = page.request(method, path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_the_pages_own_files_are_not_counted(page: TestClient) -> None:
    answers = [page.get(path) for path in ("/", "/assets/a-1.js") for _ in range(61)]

    assert {answer.status_code for answer in answers} == {200}
    assert not [answer for answer in answers if "RateLimit" in answer.headers]


@pytest.mark.parametrize("left", [[], ["assets/a-1.js"]])
def test_without_a_whole_build_the_server_says_so_and_how_to_build(
    make_settings: MakeSettings, shared_client: TestClient, tmp_path: Path, left: list[str]
) -> None:
    for name in left:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    runtime: Runtime = shared_client.app.state.runtime  # type: ignore[attr-defined]
    app = create_app(runtime.settings, runtime, page=tmp_path)
    app.state.runtime = runtime
    with TestClient(app) as client:
        answer = client.get("/", headers={"Host": "shop.example:8077"})
        forged = client.get("/", headers={"Host": 'a"><b>'})

    assert answer.status_code == 200
    assert "not built" in answer.text
    assert "npm run build" in answer.text
    assert "http://shop.example:8077/api/tryon/sessions" in answer.text
    assert "<b>" not in forged.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_build_under_a_running_server_does_not_show_half_a_page(
    shared_client: TestClient, dist: Path, page: TestClient
) -> None:
    before = page.get("/").content
    moved = dist.rename(dist.with_name("moved"))
    try:
        assert page.get("/").content == before
        assert page.get("/assets/a-1.js").content == SCRIPT
    finally:
        moved.rename(dist)
