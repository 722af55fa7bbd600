"""What is an object store's alone: a bucket, a server that dies, freezes or refuses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import boto3
import pytest

from app.errors import ServiceError, StorageFull, StorageUnavailable
from app.metrics import REGISTRY
from app.services.buckets import RULE, Bucket
from app.services.objects import AT_ONCE, ObjectStorage
from app.services.storage import Access, PictureMissing
from tests import seaweed as servers
from tests.seaweed import BUCKET, KEY_ID, SECRET, TIMEOUT_S, SeaweedFS

pytestmark = pytest.mark.cluster

USES: list[Callable[[ObjectStorage], object]] = [
    lambda store: store.put("inputs/a/person.jpg", b"x"),
    lambda store: store.get("inputs/a/person.jpg"),
    lambda store: store.open("inputs/a/person.jpg"),
    lambda store: store.exists("inputs/a/person.jpg"),
    lambda store: list(store.objects("inputs")),
    lambda store: store.delete("inputs/a/person.jpg"),
    lambda store: store.delete_prefix("inputs/a"),
    lambda store: store.check(),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server of this file's, to be killed and frozen."""
    with servers.running(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


def store_at(
    server: SeaweedFS, access: Access | None = None, bucket: str = BUCKET
) -> ObjectStorage:
    return ObjectStorage(f"s3://{bucket}/{uuid4().hex}", access or server.access)


@pytest.fixture
def client(seaweed: SeaweedFS) -> Iterator[Any]:
    """Somebody else's, who sees the bucket as it is."""
    client = boto3.client(
        "s3",
        endpoint_url=seaweed.endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )
    yield client
    client.close()


def failures(verb: str, reason: str) -> float:
    labels = {"operation": verb, "reason": reason}
    return REGISTRY.get_sample_value("tryonai_storage_failures_total", labels) or 0


def refused(store: ObjectStorage) -> list[str]:
    """What each use says, all at the same time, and none later than twice the time of a request."""

    def ask(use: Callable[[ObjectStorage], object]) -> str:
        began = time.monotonic()
        with pytest.raises(StorageUnavailable) as caught:
            use(store)
        assert time.monotonic() - began < 2 * TIMEOUT_S + 1
        return caught.value.detail

    with ThreadPoolExecutor(len(USES)) as pool:
        return list(pool.map(ask, USES))


def test_a_server_that_is_killed_is_told_within_seconds_and_has_kept_everything(
    own: SeaweedFS,
) -> None:
    store = store_at(own)
    data = os.urandom(100_000)
    store.put("inputs/a/person.jpg", data)
    before = failures("read", "unavailable")

    own.kill()

    assert all("does not answer" in said for said in refused(store))
    assert failures("read", "unavailable") == before + 3
    own.start()
    assert store.get("inputs/a/person.jpg") == data


def test_a_server_that_is_frozen_is_told_within_seconds(own: SeaweedFS) -> None:
    store = store_at(own)
    store.put("inputs/a/person.jpg", b"x")

    own.freeze()
    try:
        said = refused(store)
    finally:
        own.thaw()

    assert all("does not answer" in one for one in said)
    # Another key: what was refused may still be carried out now, in any order.
    store.put("inputs/b/person.jpg", b"y")
    assert store.get("inputs/b/person.jpg") == b"y"


def test_a_restart_is_bridged_by_a_request_that_has_the_time(own: SeaweedFS) -> None:
    store = store_at(own, replace(own.access, timeout_s=30))
    own.kill()

    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(store.put, "inputs/a/person.jpg", b"x")
        own.start()
        put.result()

    assert store.get("inputs/a/person.jpg") == b"x"


def test_a_wrong_secret_is_refused_at_once_and_never_told(seaweed: SeaweedFS) -> None:
    store = store_at(seaweed, replace(seaweed.access, secret="another-secret"))
    before = failures("written", "denied")
    began = time.monotonic()

    said = refused(store)

    assert time.monotonic() - began < TIMEOUT_S
    assert {one.rpartition(": ")[2] for one in said} == {"their store does not let us."}
    assert "another-secret" not in str(said)
    assert failures("written", "denied") == before + 2


def test_a_bucket_that_is_not_there_is_no_missing_picture(seaweed: SeaweedFS) -> None:
    access = seaweed.access
    with answering(404, b"<Error><Code>NoSuchBucket</Code></Error>") as endpoint:
        store = ObjectStorage("s3://nowhere", replace(access, endpoint=endpoint))
        with pytest.raises(StorageUnavailable, match="bucket is not there"):
            store.get("inputs/a/person.jpg")
        with pytest.raises(StorageUnavailable, match="bucket is not there"):
            store.put("inputs/a/person.jpg", b"x")


def test_a_store_without_room_is_full() -> None:
    access = Access(TIMEOUT_S, key_id=KEY_ID, secret=SECRET)
    with answering(507, b"") as endpoint, pytest.raises(StorageFull):
        ObjectStorage("s3://full", replace(access, endpoint=endpoint)).put("inputs/a/x", b"x")


def test_more_than_one_request_deletes_goes_and_nothing_beside(seaweed: SeaweedFS) -> None:
    store = store_at(seaweed)
    count = AT_ONCE + 5
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.put(f"outputs/a/{i}.jpg", b"x"), range(count)))
    store.put("outputs/b/1.jpg", b"x")

    assert len(list(store.objects("outputs"))) == count + 1
    assert store.delete_prefix("outputs/a") == count

    assert [one.key for one in store.objects("outputs")] == ["outputs/b/1.jpg"]


def test_what_somebody_else_put_there_is_passed_over_and_goes_with_its_session(
    seaweed: SeaweedFS, client: Any
) -> None:
    prefix = uuid4().hex
    store = ObjectStorage(f"s3://{BUCKET}/{prefix}", seaweed.access)
    store.put("inputs/a/person.jpg", b"x")
    for name in ("a/", "a/Me at home.jpg", "a/%41"):
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/inputs/{name}", Body=b"")

    assert [one.key for one in store.objects("inputs")] == ["inputs/a/person.jpg"]
    store.delete_prefix("inputs/a")

    found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/inputs/a/")
    assert [one["Key"] for one in found.get("Contents", [])] in ([], [f"{prefix}/inputs/a/"])


def test_after_a_fork_a_call_fails_rather_than_hangs(seaweed: SeaweedFS) -> None:
    store = store_at(seaweed)
    store.put("inputs/a/person.jpg", b"x")

    child = os.fork()
    if child == 0:
        try:
            store.get("inputs/a/person.jpg")
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_bucket_is_made_once_and_made_again_changes_nothing(seaweed: SeaweedFS) -> None:
    bucket = seaweed.bucket(f"made-{uuid4().hex}", "shop")

    first, second = bucket.make_ready(), bucket.make_ready()

    assert "was made" in first.done[0]
    assert "is there" in second.done[0]
    assert (first.left, second.left, bucket.faults()) == ([], [], [])


def test_the_rule_lasts_a_day_longer_than_the_retention_and_leaves_others_alone(
    seaweed: SeaweedFS, client: Any
) -> None:
    name = f"ruled-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    other = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}}
    client.put_bucket_lifecycle_configuration(
        Bucket=name, LifecycleConfiguration={"Rules": [{**other, "Expiration": {"Days": 90}}]}
    )

    seaweed.bucket(name, "shop").make_ready()

    rules = {
        rule["ID"]: rule for rule in client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    }
    assert rules["theirs"]["Expiration"] == {"Days": 90}
    assert rules[RULE]["Expiration"] == {"Days": 2}
    assert rules[RULE]["Filter"] == {"Prefix": "shop/"}
    assert rules[RULE]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    longer = Bucket(f"s3://{name}/shop", seaweed.access, retention=timedelta(hours=49))
    assert any("before the retention" in fault for fault in longer.faults())
    longer.make_ready()
    assert longer.faults() == []


def test_a_versioned_bucket_is_a_fault_until_its_old_versions_are_gone(
    seaweed: SeaweedFS, client: Any
) -> None:
    name = f"versioned-{uuid4().hex}"
    bucket = seaweed.bucket(name)
    bucket.make_ready()
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    store = ObjectStorage(f"s3://{name}", seaweed.access)
    store.put("inputs/a/person.jpg", b"x")
    store.delete_prefix("inputs/a")

    assert any("Versioning is on" in fault for fault in bucket.faults())

    work = bucket.make_ready()
    assert any("suspended" in sentence for sentence in work.done)
    assert any("old versions" in sentence for sentence in work.left)
    assert any("old versions" in fault for fault in bucket.faults())
    for one in client.list_object_versions(Bucket=name)["Versions"]:
        client.delete_object(Bucket=name, Key=one["Key"], VersionId=one["VersionId"])
    assert bucket.faults() == []


def test_a_bucket_without_credentials_says_what_to_set(
    seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    access = Access(TIMEOUT_S, seaweed.endpoint)

    with pytest.raises(ServiceError, match="AWS_ACCESS_KEY_ID"):
        Bucket(f"s3://{BUCKET}", access, retention=timedelta(hours=24)).faults()


def test_what_is_missing_is_missing_for_a_reader_and_gone_for_a_deleter(
    seaweed: SeaweedFS,
) -> None:
    store = store_at(seaweed, replace(seaweed.access, timeout_s=30))
    store.put("inputs/a/person.jpg", b"x")

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: store.delete_prefix("inputs/a"), range(4)))

    assert max(counts) == 1
    with pytest.raises(PictureMissing):
        store.get("inputs/a/person.jpg")


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A store that says the same to everything; for what SeaweedFS cannot be brought to say."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
