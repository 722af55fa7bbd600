"""What docs/privacy.md promises, where no other file of tests holds it."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import psutil
import pytest

from app.config import Settings
from app.database import Base, Db
from app.services.storage import LocalStorage
from tests.conftest import NOT_APPLICABLE
from tests.flows.conftest import Shopper, wait_for, working

COLUMNS = {
    "tryon_sessions": {
        *("id", "user_token", "status", "input_image_url", "garment_image_url"),
        *("output_image_url", "error_code", "error_reason", "created_at", "updated_at"),
        *("expires_at", "engine", "options", "attempts", "claimed_by", "lease_until"),
        *("started_at", "finished_at", "stage", "progress", "warnings", "quality"),
        *("wrapped_key", "consent_version", "delete_inputs_early", "stored", "erasing"),
        *("provenance", "checkpoint"),
        *("idempotency_key", "idempotency_digest", "webhook_url", "webhook_receiver"),
        *("request_id", "traceparent"),
    },
    "webhook_deliveries": {
        *("id", "session_id", "state", "attempts", "next_at", "claimed_by", "last_status"),
        *("last_error", "created_at", "ended_at"),
    },
    "deletion_receipts": {"id", "session_sha256", "erased_at", "document"},
}


def test_a_row_has_what_the_page_says_and_no_more() -> None:
    found = {name: set(table.columns.keys()) for name, table in Base.metadata.tables.items()}

    assert found == COLUMNS, "say in docs/privacy.md what is new, then here"


def test_the_defaults_are_those_of_the_page() -> None:
    defaults = Settings(_env_file=None)

    assert defaults.encrypt_pictures
    assert defaults.retention_hours == 24
    assert not defaults.webhook_allow_private
    assert defaults.host == "127.0.0.1"


@pytest.mark.skipif(os.name == "nt", reason=f"{NOT_APPLICABLE}Windows has no modes")
def test_pictures_are_for_the_user_of_the_service_alone(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path
) -> None:
    session_id = shopper.submit()
    with working(db, storage):
        shopper.wait(session_id, "completed")

    for folder in ("inputs", "outputs"):
        place = uploads / folder / session_id
        (file,) = place.iterdir()
        assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(place.stat().st_mode)) == (
            0o600,
            0o700,
        )


@pytest.mark.skipif(sys.platform != "linux", reason=f"{NOT_APPLICABLE}asks Linux for the limit")
def test_an_engine_leaves_no_core_dump(shopper: Shopper, db: Db, storage: LocalStorage) -> None:
    mine = {process.pid for process in psutil.Process().children(recursive=True)}

    shopper.submit()
    with working(db, storage, seconds=30):
        wait_for(lambda: shopper.get().json()["items"][0]["status"] == "processing")
        children = psutil.Process().children(recursive=True)
        engines = [one.pid for one in children if "app.engines.child" in " ".join(one.cmdline())]
        limits = {_core_limit(pid) for pid in engines if pid not in mine}

    # Of one byte: with that, a program that collects dumps is not given one either.
    assert limits
    assert limits <= {"0", "1"}


def _core_limit(pid: int) -> str:
    """Bytes."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    found = re.search(r"^Max core file size +(\S+)", limits, flags=re.MULTILINE)
    assert found
    return found[1]
