"""What docs/operations.md says of back-ups: the commands are taken from there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.config import ROOT
from app.database import Db, engine_of, open_db
from app.postgres import binaries
from app.services import cleanup
from app.services.storage import LocalStorage
from tests.fixtures import Databases, MakeClient
from tests.flows.conftest import ISSUER, KEYRING, TOKEN, Shopper, files_in, working

PAGE = (ROOT / "docs/operations.md").read_text()

pytestmark = pytest.mark.slow


@pytest.fixture
def commands() -> dict[str, str]:
    """Those of the chapter, by the program."""
    chapter = PAGE.partition("\n## Back-ups\n")[2].partition("\n## ")[0]
    block = re.findall(r"^```sh\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    return {
        one.split()[0]: one for one in "\n".join(block).replace("\\\n", " ").splitlines() if one
    }


@pytest.fixture
def restored(databases: Databases) -> Iterator[str]:
    """A database with nothing in it, not even our schema."""
    with databases.one() as url:
        db = open_db(url, pool_size=1)
        with db.begin() as tx:
            tx.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
        engine_of(db).dispose()
        yield url


def run(command: str, *, url: str, folder: Path) -> None:
    """As an operator, in a shell; the programs are those of the embedded database."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    plain = plain.replace("+", "%20")  # libpq reads a plus as a plus
    path = f"{binaries.find()}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "DATABASE_URL": plain, "PATH": path}
    subprocess.run(command, shell=True, check=True, cwd=folder, env=environment)


def test_the_back_up_holds_receipts_and_nothing_of_a_session(
    make_client: MakeClient,
    db: Db,
    storage: LocalStorage,
    database_url: str,
    restored: str,
    commands: dict[str, str],
    tmp_path: Path,
) -> None:
    shopper = Shopper(make_client(receipt_retention_days=100))
    erased, alive = shopper.submit(), shopper.submit()
    with working(db, storage):
        shopper.wait(alive, "completed")
    shopper.delete(erased)
    with db.begin() as tx:
        key = tx.scalar(text("SELECT encode(wrapped_key, 'hex') FROM tryon_sessions"))

    run(commands["pg_dump"], url=database_url, folder=tmp_path)
    run("pg_restore --file=plain.sql tryonai.dump", url=database_url, folder=tmp_path)
    plain = (tmp_path / "plain.sql").read_text()
    run(commands["pg_restore"], url=restored, folder=tmp_path)

    assert "session_sha256" in plain
    for secret in (str(key), alive, erased, KEYRING.owner(TOKEN), "inputs/", "outputs/"):
        assert secret not in plain
    again = Shopper(make_client(database_url=restored))
    assert again.http.get(f"/api/tryon/receipts/{erased}").status_code == 200
    assert again.get(alive).status_code == 404
    # What the lost sessions have left in the storage goes with the sweep.
    assert files_in(tmp_path / "uploads")
    other = open_db(restored, pool_size=2)
    cleanup.sweep(other, storage, ISSUER, age=timedelta(0))
    engine_of(other).dispose()
    assert files_in(tmp_path / "uploads") == []


def test_what_a_whole_copy_brings_back_goes_with_a_receipt(
    make_client: MakeClient,
    db: Db,
    storage: LocalStorage,
    database_url: str,
    restored: str,
    commands: dict[str, str],
    tmp_path: Path,
) -> None:
    shopper = Shopper(make_client())
    erased = shopper.submit()
    run('pg_dump "$DATABASE_URL" -Fc -f tryonai.dump', url=database_url, folder=tmp_path)
    shopper.delete(erased)

    run(commands["pg_restore"], url=restored, folder=tmp_path)
    run(commands["psql"], url=restored, folder=tmp_path)
    again = Shopper(make_client(database_url=restored))

    assert again.get(erased).status_code == 410, "it is back in the table, and nobody sees it"
    other = open_db(restored, pool_size=2)
    assert cleanup.purge(other, storage, ISSUER).sessions == 1
    engine_of(other).dispose()
    assert again.get(erased).status_code == 404
    assert again.http.get(f"/api/tryon/receipts/{erased}").status_code == 200
