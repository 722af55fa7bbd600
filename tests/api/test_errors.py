"""Every error is a problem with a code, in a shape that a page of another origin may read."""

from __future__ import annotations

from typing import cast
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from tests import pictures
from tests.api.sessions import OWNER, PROBLEM, TOKEN, URL, create, post
from tests.fixtures import MakeClient

ORIGIN = {"Origin": "http://localhost:3000"}
ID = "7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d"


def check_problem(answer: Response, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert answer.headers["Content-Type"] == PROBLEM
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/", "/api/tryon", "/api/tryon/shoes"])
def test_what_is_not_there_is_a_problem(shared_client: TestClient, path: str) -> None:
    check_problem(shared_client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", URL, "DELETE, GET, HEAD, OPTIONS, POST"),
        ("PATCH", f"{URL}/{ID}", "DELETE, GET, HEAD, OPTIONS"),
        ("POST", f"{URL}/{ID}", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", f"{URL}/{ID}/input", "GET, HEAD, OPTIONS"),
        ("POST", "/api/tryon/garments", "GET, HEAD, OPTIONS"),
        ("POST", "/api/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("BREW", URL, "DELETE, GET, HEAD, OPTIONS, POST"),
        ("TRACE", "/api/health/live", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_is_not_taken_learns_which_are(
    shared_client: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = shared_client.request(method, path)

    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


def test_options_tells_the_methods(shared_client: TestClient) -> None:
    answer = shared_client.options(URL)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
    assert shared_client.options("/api/nothing").status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"--b\r\n\r\n", b"--b\r\nContent-Disposition: x\r\n\r\ny\r\n--b--"]
)
def test_a_broken_form_is_malformed(shared_client: TestClient, body: bytes) -> None:
    answer = shared_client.post(
        URL, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == PROBLEM


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\xff"],
)
def test_a_form_without_a_boundary_is_malformed(shared_client: TestClient, kind: str) -> None:
    answer = shared_client.post(
        URL, content=b"--b--", headers={"Content-Type": kind.encode("latin-1")}
    )

    check_problem(answer, 400, "malformed_request")


def test_a_flood_of_fields_is_refused(shared_client: TestClient) -> None:
    answer = shared_client.post(
        URL,
        data={f"field{n}": "x" for n in range(1000)},
        files={"person_image": pictures.jpeg(pictures.photo())},
    )

    check_problem(answer, 400, "too_many_parts")


def test_a_flood_of_files_is_refused(shared_client: TestClient) -> None:
    answer = shared_client.post(URL, files=[("person_image", b"x")] * 500)

    check_problem(answer, 400, "too_many_parts")


def test_a_text_field_of_some_length_is_refused(shared_client: TestClient) -> None:
    answer = post(shared_client, garment_id="x" * 5000)

    check_problem(answer, 413, "body_too_large")


def test_an_urlencoded_form_has_no_pictures(shared_client: TestClient) -> None:
    answer = shared_client.post(URL, data={"user_token": TOKEN, "person_image": "x"})

    assert answer.json()["code"] in ("file_missing", "unsupported_media_type")


def test_what_a_client_calls_a_field_is_cut_to_plain_words(shared_client: TestClient) -> None:
    answer = shared_client.post(
        URL, data={"user_token": TOKEN, "<script>\x00\r\n": "x"}, files={"person_image": b"x"}
    )

    assert answer.status_code in (400, 422)
    assert "<script>" not in answer.text


@pytest.mark.parametrize("sent", ["abcdefgh", "0a.b_c-D" * 8])
def test_a_sane_request_id_is_kept(shared_client: TestClient, sent: str) -> None:
    answer = shared_client.get("/api/nothing", headers={"X-Request-ID": sent})

    assert answer.headers["X-Request-ID"] == sent
    assert answer.json()["request_id"] == sent


@pytest.mark.parametrize(
    "sent", ["", "short", "x" * 65, "has a space", "a\tb\tc\td", "<script>alert", "line\x0bbreak"]
)
def test_another_request_id_is_replaced(shared_client: TestClient, sent: str) -> None:
    answer = shared_client.get("/api/health/live", headers={"X-Request-ID": sent})

    assert UUID(answer.headers["X-Request-ID"]).version == 4


def check_cors(answer: Response) -> None:
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {
        *("Location", "Retry-After", "ETag", "Date", "RateLimit", "RateLimit-Policy"),
        *("X-Request-ID", "Idempotency-Replayed", "Preference-Applied"),
    } <= set(exposed)


def test_a_page_may_read_errors_too(make_client: MakeClient) -> None:
    client = make_client(rate_limit_enabled=True, rate_limit_create="2/minute")
    app = cast("FastAPI", client.app)

    @app.get("/api/broken")
    def broken() -> None:
        raise RuntimeError("the secret of the machine")

    created = client.post(
        URL,
        headers=ORIGIN,
        data={"user_token": TOKEN},
        files={"person_image": pictures.jpeg(pictures.photo())},
    )
    too_large = client.post(URL, content=b"", headers={**ORIGIN, "Content-Length": str(10**10)})
    too_often = client.post(URL, headers=ORIGIN)
    missing = client.get("/api/nothing", headers=ORIGIN)
    mistake = client.get("/api/broken", headers=ORIGIN)

    check_problem(too_large, 413, "body_too_large")
    check_problem(too_often, 429, "rate_limited")
    check_problem(missing, 404, "not_found")
    check_problem(mistake, 500, "internal_error")
    assert "secret" not in mistake.text
    for answer in (created, too_large, too_often, missing, mistake):
        check_cors(answer)


def test_a_mistake_of_ours_in_a_route_of_ours_tells_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> None:
            raise RuntimeError("the secret of the machine")

    cast("FastAPI", client.app).state.runtime.reads = Broken()

    answer = client.get(URL, headers={**OWNER, **ORIGIN})

    check_problem(answer, 500, "internal_error")
    check_cors(answer)
    assert "secret" not in answer.text


def test_another_origin_is_not_let_in(shared_client: TestClient) -> None:
    answer = shared_client.get("/api/health/live", headers={"Origin": "https://example.org"})

    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_preflight_is_answered(shared_client: TestClient, method: str) -> None:
    answer = shared_client.options(
        URL,
        headers={
            **ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "x-user-token, if-none-match",
        },
    )

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert "x-user-token" in answer.headers["Access-Control-Allow-Headers"].lower()


ODD = ["%00", "%ff", "%F0%9F%A7%A5", "%E2%80%AE", "%0d%0aX-A:%20b", "%25", "'", "a" * 2000, "%2e"]


@pytest.mark.parametrize("odd", ODD)
def test_odd_text_in_an_address_is_no_mistake_of_ours(shared_client: TestClient, odd: str) -> None:
    for method, path in [
        ("GET", f"{URL}/{odd}"),
        ("DELETE", f"{URL}/{odd}"),
        ("GET", f"{URL}/{ID}/{odd}"),
        ("GET", f"{URL}/{ID}/input?expires={odd}&signature={odd}"),
        ("GET", f"{URL}?cursor={odd}&limit={odd}"),
        ("GET", f"{URL}?{odd}={odd}"),
        ("GET", f"/api/tryon/garments/{odd}/image"),
        ("GET", f"/api/docs/assets/{odd}"),
        ("GET", f"/{odd}"),
    ]:
        answer = shared_client.request(method, path, headers=OWNER)

        assert answer.status_code < 500, path
        assert "X-A" not in answer.headers


@pytest.mark.parametrize(
    "token", [b"\x00", b"\xff\xfe", "🧥".encode(), b"a" * 9000, b"' OR 1=1 --", b"\x7f", b" "]
)
def test_an_odd_token_owns_nothing(shared_client: TestClient, token: bytes) -> None:
    session = create(shared_client)
    headers = {"X-User-Token": token}

    answers = [
        shared_client.get(f"{URL}/{session['id']}", headers=headers),
        shared_client.get(f"{URL}/{session['id']}/input", headers=headers),
    ]

    assert {answer.status_code for answer in answers} <= {401, 404}
    assert shared_client.get(URL, headers=headers).status_code in (200, 401)
    assert shared_client.delete(URL, headers=headers).status_code in (204, 401)
    assert shared_client.get(f"{URL}/{session['id']}", headers=OWNER).status_code == 200


@pytest.mark.parametrize("name", ["user_token", "garment_id", "engine", "category", "seed"])
@pytest.mark.parametrize("odd", ["\x00", "ab\x00cdefgh", "\ud7ff", "🧥" * 9, "\u202e" * 9])
def test_odd_text_in_a_field_is_refused(shared_client: TestClient, name: str, odd: str) -> None:
    answer = post(shared_client, **{name: odd})  # type: ignore[arg-type]

    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [f"#/{name}"]


@pytest.mark.parametrize("path", [URL, f"{URL}/{ID}", "/api/health/live", "/api/tryon/garments"])
def test_a_body_that_nobody_needs_is_bounded(shared_client: TestClient, path: str) -> None:
    answer = shared_client.request("GET", path, content=bytes(70_000), headers=OWNER)

    check_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "path", ["/", "/api/health", "/api/tryon/engines", "/api/tryon/people/ada/image", "/api/docs"]
)
def test_head_is_get_without_the_body(shared_client: TestClient, path: str) -> None:
    get, head = shared_client.get(path), shared_client.head(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.headers.get("Content-Length") == get.headers.get("Content-Length")


def test_head_of_an_error_is_its_status(shared_client: TestClient) -> None:
    answer = shared_client.head(f"{URL}/{ID}", headers=OWNER)

    assert (answer.status_code, answer.content) == (404, b"")


def test_a_slash_at_the_end_means_the_same(shared_client: TestClient) -> None:
    answer = shared_client.post(
        f"{URL}/",
        data={"user_token": TOKEN},
        files={"person_image": pictures.jpeg(pictures.photo())},
        follow_redirects=False,
    )

    assert answer.status_code == 201
    read = shared_client.get(f"{answer.headers['Location']}/", headers=OWNER)
    assert read.json()["id"] == answer.json()["id"]
    assert shared_client.get("/api/health/", follow_redirects=False).status_code == 200
