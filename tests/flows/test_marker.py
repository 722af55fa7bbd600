"""A marker in all that a shopper sends, looked for in all that is left once it is erased."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg2
from PIL import Image, PngImagePlugin
from sqlalchemy.engine import make_url

from app.postgres import EmbeddedPostgres
from app.signing import Keyring
from tests import pictures
from tests.fixtures import SECRET
from tests.flows.conftest import EXPIRE_ALL, URL, Run, Serve, Server, Shopper, Sql, wait_for

MARKER = b"Marker0f7c1d"  # of letters that a token and a file name may have
TOKEN = f"{MARKER.decode()}-of-a-token"


def forms(needle: bytes) -> list[bytes]:
    """How somebody may have written it down: as it is, in UTF-16, in hex, or anywhere in base64."""
    shifted = (base64.b64encode(b"x" * n + needle) for n in range(3))
    return [
        needle,
        needle.decode().encode("utf-16-le"),
        needle.hex().encode(),
        *(text[4:-4] for text in shifted),
    ]


def hits(places: dict[str, Iterator[bytes]], *needles: bytes) -> list[str]:
    """In which of these places any of them stands."""
    wanted = [form for needle in needles for form in forms(needle)]
    return [
        place
        for place, contents in places.items()
        for content in contents
        if any(one in content for one in wanted)
    ]


def read_all(folder: Path) -> Iterator[bytes]:
    """Every file below a folder, and the names."""
    for path in folder.rglob("*"):
        yield os.fsencode(path.relative_to(folder))
        if path.is_file():
            yield path.read_bytes()


def dump(url: str) -> Iterator[bytes]:
    """Every table of a database, the system's own included, as COPY writes it."""
    address = make_url(url)
    parts = {**address.translate_connect_args(username="user"), **address.query}
    with psycopg2.connect(**parts) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'm')"
            " AND has_table_privilege(c.oid, 'SELECT')"
        )
        for (table,) in cursor.fetchall():
            content = io.BytesIO()
            cursor.copy_expert(f"COPY (SELECT * FROM {table}) TO STDOUT", content)
            yield content.getvalue()


def marked_jpeg() -> bytes:
    """The marker in EXIF, in a comment and behind the end."""
    note = MARKER.decode()
    exif = pictures.exif(note=note)
    return pictures.jpeg(pictures.photo(), exif=exif, comment=MARKER) + MARKER


def marked_png() -> bytes:
    """In a text, and in the pixels, which are not compressed; so large that it is spooled."""
    pixels = np.asarray(pictures.photo(720, 720)).copy()
    pixels[0, :4] = np.frombuffer(MARKER, np.uint8).reshape(4, 3)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", MARKER.decode())
    return pictures.png(Image.fromarray(pixels), pnginfo=texts, compress_level=0)


def test_nothing_of_a_shopper_is_left_anywhere(
    serve: Serve,
    run: Run,
    sql: Sql,
    tmp_path: Path,
    database_url: str,
    cluster: EmbeddedPostgres,
) -> None:
    person, garment = marked_jpeg(), marked_png()
    assert MARKER in person
    assert MARKER in garment
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    server = serve(log_level="debug", tmpdir=scratch, mock_faults="1:crash").ready()
    owners = [owner.encode() for owner in Keyring([SECRET]).owners(TOKEN)]
    deleted, _ = (send(server, person, garment, seed=seed) for seed in (0, 1))
    assert hits({"dump": dump(database_url)}, *owners), "what is there is found"

    assert Shopper(server.shopper.http, TOKEN).delete(deleted).status_code == 204
    sql(EXPIRE_ALL)
    assert run("purge", tmpdir=scratch).wait() == 0

    places = {
        "uploads": read_all(tmp_path / "uploads"),
        "temporary files": read_all(scratch),
        "everything else of the installation, its logs included": read_all(tmp_path),
        "dump": dump(database_url),
    }
    assert hits(places, MARKER, *owners) == []
    # What a row held stays in the database's files for a while, see docs/privacy.md. That is the
    # keyed hash of the token, and neither the token nor anything else that was sent.
    files = database_files(cluster)
    assert hits({"the database's files": iter(files)}, *owners)
    assert hits({"the database's files": iter(files)}, MARKER) == []


def send(server: Server, person: bytes, garment: bytes, *, seed: int) -> str:
    """Create a session with the marker in all that is free, and see it end; its id."""
    shopper = Shopper(server.shopper.http, TOKEN)
    answer = shopper.http.post(
        URL,
        files={
            "person_image": (f"{MARKER.decode()}.jpg", person, "image/jpeg"),
            "garment_image": (f"{MARKER.decode()}.png", garment, "image/png"),
        },
        data={"user_token": TOKEN, "seed": str(seed)},
        headers={"Idempotency-Key": f"{MARKER.decode()}-{seed}"},
    )
    assert answer.status_code == 201, answer.text
    session_id = str(answer.json()["id"])
    ended = wait_for(lambda: shopper.see(session_id)["finished_at"] and shopper.see(session_id))
    for name in ("input", "garment"):
        assert shopper.http.get(ended[f"{name}_image_url"]).status_code == 200
    return session_id


def database_files(cluster: EmbeddedPostgres) -> list[bytes]:
    """All of them: tables, the log of changes, the log that it writes for people."""
    socket = Path(str(make_url(cluster.url).query["host"]))
    return list(read_all(socket.parent))
