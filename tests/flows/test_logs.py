"""What is logged while everything happens: enough for an operator, nothing of a shopper."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from app.postgres import EmbeddedPostgres
from app.signing import Keyring
from tests import pictures
from tests.fixtures import SECRET
from tests.flows.conftest import LOSE_LEASES, URL, Serve, Server, Shopper, Sql, wait_for

TOKEN = "MARKER-of-a-token"
ADDRESS = "203.0.113.77"
PHOTO = pictures.with_exif(pictures.photo(), note="MARKER-in-exif")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_log_tells_anything_of_a_shopper(
    log_format: str, serve: Serve, sql: Sql, cluster: EmbeddedPostgres
) -> None:
    server = serve(
        log_format=log_format,
        log_level="debug",
        trusted_proxies="127.0.0.1",
        mock_faults="1:error,2:crash",
        max_file_mb=1,
    ).ready()

    signed = do_everything(server, sql)

    server.terminate()
    assert server.wait() == 0
    postgres_log = Path(str(make_url(cluster.url).query["host"])).parent / "postgres.log"
    for text in (server.text, postgres_log.read_text()):
        for secret in (
            "MARKER",
            *Keyring([SECRET]).owners(TOKEN),
            SECRET,
            ADDRESS,
            *signed,
            "signature=",
            "inputs/",
            "outputs/",
            "JFIF",
            "xff\\xd8",
        ):
            assert secret not in text, _around(secret, text)
    printed = [line for line in server.text.splitlines() if "127.0.0.1" in line]
    assert all(re.match(r"  (page|API|health) ", line) for line in printed)
    assert "Traceback" in server.text or '"exception"' in server.text, "the fault took place"
    if log_format == "json":
        _check_json(server.text)
    else:
        _check_lines(server.text)


def do_everything(server: Server, sql: Sql) -> list[str]:
    """Use the service well and badly; returns the secret part of each signed URL that was given."""
    http = server.shopper.http
    http.headers["X-Forwarded-For"] = ADDRESS
    shopper = Shopper(http, TOKEN)

    # As it should be.
    done = _post(shopper, seed=0, garment_image=PHOTO)
    session = shopper.wait(done, "completed")
    urls = [session[f"{name}_image_url"] for name in ("input", "garment", "output")]
    assert [http.get(url).status_code for url in urls] == [200] * 3
    assert [shopper.get(path).status_code for path in ("", f"{done}/output")] == [200] * 2
    # What cannot be done.
    for seed in (1, 2):
        shopper.wait(_post(shopper, seed=seed), "failed")
    for path in (
        "/MARKER?MARKER=MARKER",
        "/api/MARKER",
        f"{URL}/MARKER",
        f"{URL}/{uuid4()}",
        f"{URL}/{done}/output?expires=1&signature=MARKER",
        f"{URL}?cursor=MARKER",
    ):
        http.get(path, headers={"Cookie": "MARKER=1", "X-Request-ID": "MARKER !"})
        http.get(path, headers=shopper.headers)
    assert http.get(urls[0].replace("signature=", "signature=x")).status_code == 401
    http.request("MARKER", URL)
    for bad in (
        {"user_token": "MARKER with spaces"},
        {"MARKER": "MARKER"},
        {"garment_id": "MARKER"},
        {"category": "MARKER"},
        {"engine": "MARKER"},
        {"person_image": b"MARKER"},
        {"person_image": b"\xff\xd8\xffMARKER"},
        {"person_image": PHOTO + bytes(2**20)},
        {"seed": "MARKER"},
    ):
        assert _send(shopper, **bad) in (413, 415, 422)
    http.post(URL, content=b"MARKER", headers={"Content-Type": "multipart/form-data; boundary=M"})
    http.post(URL, json={"MARKER": "MARKER"})
    # What nobody has foreseen, for the server and for its worker.
    sql("ALTER TABLE tryon_sessions ADD CONSTRAINT nope CHECK (false) NOT VALID")
    assert _send(shopper) == 500
    sql("ALTER TABLE tryon_sessions DROP CONSTRAINT nope")
    sql("ALTER TABLE tryon_sessions ADD CONSTRAINT nope CHECK (status <> 'completed') NOT VALID")
    waiting = _post(shopper, seed=0)
    wait_for(lambda: "worker.pause" in server.text)
    sql("ALTER TABLE tryon_sessions DROP CONSTRAINT nope")
    sql(LOSE_LEASES)
    # Gone.
    assert shopper.delete(done).status_code == 204
    assert waiting
    assert shopper.delete().status_code == 204
    return [re.split(r"[=&]", url)[-1] for url in urls]


def _send(shopper: Shopper, **fields: object) -> int:
    parts = {"person_image": PHOTO, "user_token": TOKEN, **fields}
    files = {k: ("MARKER.jpg", v, "image/jpeg") for k, v in parts.items() if isinstance(v, bytes)}
    texts = {k: str(v) for k, v in parts.items() if not isinstance(v, bytes)}
    answer = shopper.http.post(URL, files=files, data=texts)
    if answer.status_code == 201:
        shopper.http.headers["X-Last"] = answer.json()["id"]
    return answer.status_code


def _post(shopper: Shopper, **fields: object) -> str:
    assert _send(shopper, **fields) == 201
    return shopper.http.headers["X-Last"]


def _check_lines(text: str) -> None:
    client = Keyring([SECRET]).client(ADDRESS)
    assert re.search(rf"Request: POST {URL} - Client: {client}\b", text)
    assert re.search(rf"Response: POST {URL} - Status: 201 - Time: \d+\.\d{{3}}s", text)
    assert re.search(rf"Response: GET {URL}/[0-9a-f-]{{36}} - Status: 200 ", text)
    for event in ("session.created", "session.claimed", "session.completed", "session.failed"):
        assert event in text
    assert "session.erased" in text


def _check_json(text: str) -> None:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    events = {line["event"] for line in lines}
    assert {"request", "response", "session.created", "session.completed"} <= events
    for line in lines:
        assert {"level", "timestamp"} <= line.keys()
        if line["event"] == "response":
            assert {"method", "path", "status", "ms", "client", "request_id"} <= line.keys()
            assert re.fullmatch(r"\d{8}", line["client"])


def _around(secret: str, text: str) -> str:
    at = text.index(secret)
    return f"{secret!r} is in: {text[max(0, at - 600) : at + 200]}"
