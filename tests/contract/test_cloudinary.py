"""What is Cloudinary's alone: what we send, its pages and limits, and a server that fails.

All against a replay of its published API; nobody has tried the service.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest

from app.errors import StorageFull, StorageUnavailable
from app.metrics import REGISTRY
from app.services.cloudinary import PAGE, CloudinaryStorage
from app.services.storage import PictureMissing
from tests.cloudinary import CLOUD, SECRET, Asset, Cloudinary, check_signature, signature

TIMEOUT_S = 0.5
KEY = "inputs/a/person.jpg"
ID = f"shop/{KEY}"

USES: list[Callable[[CloudinaryStorage], object]] = [
    lambda store: store.put(KEY, b"x"),
    lambda store: store.get(KEY),
    lambda store: store.open(KEY),
    lambda store: store.exists(KEY),
    lambda store: list(store.objects("inputs")),
    lambda store: store.delete(KEY),
    lambda store: store.delete_prefix("inputs/a"),
    lambda store: store.check(),
]


@pytest.fixture
def store(cloudinary: Cloudinary) -> CloudinaryStorage:
    return store_at(cloudinary)


def store_at(server: Cloudinary, **account: str) -> CloudinaryStorage:
    who = replace(server.account, **account)
    return CloudinaryStorage(f"cloudinary://{CLOUD}/shop", who, timeout_s=TIMEOUT_S)


def refused(store: CloudinaryStorage) -> list[str]:
    """What each use says, all at the same time, and none later than twice the time of a request."""

    def ask(use: Callable[[CloudinaryStorage], object]) -> str:
        began = time.monotonic()
        with pytest.raises(StorageUnavailable) as caught:
            use(store)
        assert time.monotonic() - began < 2 * TIMEOUT_S + 1
        return caught.value.detail

    with ThreadPoolExecutor(len(USES)) as pool:
        return list(pool.map(ask, USES))


def failures(verb: str, reason: str) -> float:
    labels = {"operation": verb, "reason": reason}
    return REGISTRY.get_sample_value("tryonai_storage_failures_total", labels) or 0


def test_the_replay_signs_as_the_documentation_does() -> None:
    """Source: support.cloudinary.com, "How to generate a Cloudinary signature on my own"."""
    form = {"timestamp": "1315060510", "public_id": "sample_image", "file": "x", "api_key": "1234"}

    assert signature(form, "abcd", "sha1") == "b4ad47fb4e25c7bf5f92a20089f9db59bc302313"


def test_a_picture_goes_up_private_and_with_no_copy_elsewhere(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    store.put(KEY, b"x")

    sent = cloudinary.forms[-1]
    assert cloudinary.asked == [("POST", f"/v1_1/{CLOUD}/raw/upload")]
    assert (sent["public_id"], sent["type"]) == (ID, "private")
    assert (sent["backup"], sent["overwrite"], sent["invalidate"]) == ("false", "true", "true")
    assert SECRET not in str(sent)
    check_signature(sent)


@pytest.mark.parametrize("use", [USES[5], USES[6]])
def test_what_is_deleted_is_taken_from_caches_too(
    use: Callable[[CloudinaryStorage], object], cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    use(store)

    assert cloudinary.forms[-1]["invalidate"] == "true"


def test_listings_and_deletions_of_many_pages_are_whole(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    count = 2 * PAGE + 5
    for i in range(count):
        cloudinary.assets["private", f"shop/outputs/a/{i}.jpg"] = Asset(b"x", 1_700_000_000, i)
    store.put("outputs/b/1.jpg", b"x")

    assert len({one.key for one in store.objects("outputs")}) == count + 1
    cloudinary.at_once = 400
    assert store.delete_prefix("outputs/a") == count
    assert [one.key for one in store.objects("outputs")] == ["outputs/b/1.jpg"]


def test_the_age_is_that_of_the_last_write(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    cloudinary.assets["private", ID] = Asset(b"first", 1_700_000_000, 1)
    store.put(KEY, b"second")

    (found,) = store.objects("inputs")
    assert time.time() - found.modified < 5


def test_an_account_that_keeps_backups_is_a_fault_and_what_is_deleted_is_gone_all_the_same(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    assert store.faults() == []
    cloudinary.backup = True
    store.put(KEY, b"x")

    assert store.delete_prefix("inputs/a") == 1
    assert not store.exists(KEY)
    assert list(store.objects("inputs")) == []
    assert "backup" in "".join(store.faults())


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_wrong_credentials_are_refused_at_once_and_never_told(
    wrong: str, cloudinary: Cloudinary
) -> None:
    store = store_at(cloudinary, **{wrong: "another one"})
    before = failures("written", "denied")
    began = time.monotonic()

    said = refused(store)

    assert time.monotonic() - began < TIMEOUT_S
    assert {one.rpartition(": ")[2] for one in said} == {"their store does not let us."}
    assert "another one" not in str(said) + repr(store)
    assert failures("written", "denied") == before + 2


def test_a_cloud_that_is_not_there_is_no_missing_picture(cloudinary: Cloudinary) -> None:
    store = CloudinaryStorage("cloudinary://nowhere", cloudinary.account, timeout_s=TIMEOUT_S)

    assert all("does not let us" in said for said in refused(store))
    cloudinary.say = [(404, "This is a proxy"), (404, "This is a proxy")]
    for use in (store.get, store.exists):
        with pytest.raises(StorageUnavailable, match="their store failed"):
            use(KEY)


@pytest.mark.parametrize("status", [420, 429])
def test_a_limit_of_requests_is_told_and_not_knocked_at(
    status: int, cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    cloudinary.say = [(status, "Rate Limit Exceeded. Limit of 500 api operations reached.")]

    with pytest.raises(StorageUnavailable, match="asked more often"):
        store.delete_prefix("inputs/a")
    assert len(cloudinary.asked) == 1


def test_a_store_without_room_is_full(cloudinary: Cloudinary, store: CloudinaryStorage) -> None:
    cloudinary.say = [(507, "no room")]

    with pytest.raises(StorageFull):
        store.put(KEY, b"x")


@pytest.mark.parametrize("failure", [(503, "away"), (0, "")])
def test_a_failure_or_a_lost_answer_is_bridged(
    failure: tuple[int, str], cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    store.put(KEY, b"before")
    for use in (USES[0], USES[1], USES[6]):
        cloudinary.say = [failure]
        use(store)

    store.put(KEY, b"after")
    assert store.get(KEY) == b"after"


def test_a_server_that_is_away_is_told_within_seconds(cloudinary: Cloudinary) -> None:
    store = store_at(cloudinary, api_url="http://127.0.0.1:9")  # where nobody listens

    assert all("does not answer" in said for said in refused(store))


def test_a_server_that_is_frozen_is_told_within_seconds(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    thaw = Event()
    cloudinary.before = lambda _method, _path: thaw.wait(30)
    try:
        said = refused(store)
    finally:
        thaw.set()

    assert all("does not answer" in one for one in said)


def test_an_answer_that_trickles_is_bound_as_a_whole(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    store.put(KEY, b"x" * 1000)
    cloudinary.pause_s = TIMEOUT_S / 4  # twenty times
    began = time.monotonic()

    with pytest.raises(StorageUnavailable):
        store.get(KEY)
    assert time.monotonic() - began < 2 * TIMEOUT_S + 1


def test_a_success_that_is_none_is_a_failure(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    for use in (USES[0], *USES[4:7]):
        cloudinary.say = [(200, "a success that says something else")]
        with pytest.raises(StorageUnavailable):
            use(store)


def test_after_a_fork_each_has_connections_of_its_own(
    cloudinary: Cloudinary, store: CloudinaryStorage
) -> None:
    store.put(KEY, b"x")

    child = os.fork()
    if child == 0:
        os._exit(0 if store.get(KEY) == b"x" and store._api._opened_in == os.getpid() else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get(KEY) == b"x"


def test_a_picture_that_is_missing_is_no_failure(store: CloudinaryStorage) -> None:
    before = failures("read", "refused")

    with pytest.raises(PictureMissing):
        store.get(KEY)
    assert failures("read", "refused") == before
