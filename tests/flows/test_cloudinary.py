"""The whole service with its pictures at a replay of Cloudinary's API; never at the service."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from app.database import Db
from app.services import cleanup, crypto
from app.services.audit import audit
from app.services.cloudinary import CloudinaryStorage
from tests.cloudinary import CLOUD, SECRET, Cloudinary
from tests.flows.conftest import EXPIRE_ALL, ISSUER, VAULT, Run, Serve, Sql

pytestmark = pytest.mark.slow


def test_the_life_of_sessions_at_cloudinary(
    cloudinary: Cloudinary, serve: Serve, run: Run, sql: Sql, db: Db
) -> None:
    settings = cloudinary.environment("shop")
    url = f"cloudinary://{CLOUD}/shop"
    storage = CloudinaryStorage(url, cloudinary.account, timeout_s=5)
    server = serve(log_level="debug", **settings).ready()
    shopper = server.shopper
    one, other = shopper.submit(), shopper.submit()
    for session_id in (one, other):
        shopper.wait(session_id, "completed")

    picture = shopper.get(f"{one}/output")
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
    kept = [(name, asset) for name, asset in cloudinary.assets.items() if "draft" not in name[1]]
    assert len(kept) == 4
    assert {kind for (kind, _), _ in kept} == {"private"}
    assert all(crypto.is_sealed(asset.data) for _, asset in kept)

    assert shopper.delete(one).status_code == 204
    assert not [name for name in cloudinary.assets if one in name[1]]
    cloudinary.say = [(429, "Rate Limit Exceeded")] * 4
    assert shopper.delete(other).status_code == 503
    assert shopper.get(other).status_code == 410, "the erasure has begun"
    cloudinary.say = []

    server.terminate()  # or its own purge might be at it already
    assert server.wait() == 0
    sql(EXPIRE_ALL)
    assert cleanup.purge(db, storage, ISSUER).failed == 0
    storage.put(f"inputs/{uuid4()}/person.jpg", b"what a crash has left")
    assert cleanup.sweep(db, storage, ISSUER, age=timedelta(0)).files == 1
    assert cloudinary.assets == {}
    assert audit(db, storage, VAULT, ISSUER, age=timedelta(0)).found == []
    doctor = run("doctor", "--json", **settings)
    doctor.wait()
    parts = json.loads(doctor.text[doctor.text.index("{\n") :])["parts"]
    assert (parts["bucket"]["status"], parts["storage"]["status"]) == ("ok", "ok")
    for told in (SECRET, "signature", "public_id"):
        assert told not in server.text + doctor.text


def test_the_doctor_tells_of_a_backup_and_of_settings_that_are_missing(
    cloudinary: Cloudinary, run: Run
) -> None:
    settings = cloudinary.environment()
    cloudinary.backup = True

    found = run("doctor", **settings)
    without = run("doctor", **{**settings, "cloudinary_api_secret": ""})

    assert found.wait() == 1
    assert "turn automatic backup off" in found.text
    assert without.wait() != 0
    assert "CLOUDINARY_API_SECRET" in without.text
