"""What every storage promises, whichever back end it is."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import StorageFull, StorageUnavailable
from app.services.cloudinary import CloudinaryStorage
from app.services.storage import LocalStorage, PictureMissing, Storage
from tests.cloudinary import CLOUD, Cloudinary
from tests.seaweed import BUCKET, SeaweedFS

Make = Callable[[], Storage]


@pytest.fixture
def make_local(tmp_path: Path) -> Make:
    return lambda: LocalStorage(tmp_path / "uploads")


@pytest.fixture
def make_s3(seaweed: SeaweedFS) -> Make:
    """Each below a prefix of its own, in one bucket."""
    from app.services.objects import ObjectStorage  # noqa: PLC0415 - needs the extra's packages

    # SeaweedFS takes a second more for each that deletes the same key at the same time.
    access = replace(seaweed.access, timeout_s=30)
    return lambda: ObjectStorage(f"s3://{BUCKET}/contract/{uuid4().hex}", access)


@pytest.fixture
def make_cloudinary(cloudinary: Cloudinary) -> Make:
    """Each below a prefix of its own, in one cloud."""
    url = f"cloudinary://{CLOUD}/contract/{uuid4().hex}"
    return lambda: CloudinaryStorage(url, cloudinary.account, timeout_s=30)


STORAGES = ["make_local", "make_cloudinary", pytest.param("make_s3", marks=pytest.mark.cluster)]


@pytest.fixture(params=STORAGES)
def store(request: pytest.FixtureRequest) -> Storage:
    make: Make = request.getfixturevalue(request.param)
    return make()


def keys(store: Storage, prefix: str = "inputs") -> list[str]:
    return sorted(one.key for one in store.objects(prefix))


def test_what_was_put_is_there_whole(store: Storage) -> None:
    data = os.urandom(300_000)

    store.put("inputs/a/person.jpg", data)

    assert store.get("inputs/a/person.jpg") == data
    assert store.exists("inputs/a/person.jpg")
    reader, size = store.open("inputs/a/person.jpg")
    with reader:
        assert size == len(data)
        assert b"".join(iter(lambda: reader.read(65536), b"")) == data


def test_a_second_put_replaces_the_first(store: Storage) -> None:
    store.put("inputs/a/person.jpg", b"a long first one")

    store.put("inputs/a/person.jpg", b"second")

    assert store.get("inputs/a/person.jpg") == b"second"
    assert keys(store) == ["inputs/a/person.jpg"]


def test_what_is_not_there_is_missing(store: Storage) -> None:
    for use in (store.get, store.open):
        with pytest.raises(PictureMissing):
            use("inputs/nobody/person.jpg")

    assert not store.exists("inputs/nobody/person.jpg")
    assert not store.exists("inputs")
    assert keys(store) == []
    store.put("inputs/somebody/person.jpg", b"x")
    assert store.delete_prefix("inputs/nobody") == 0
    store.delete("inputs/nobody/person.jpg")


def test_a_prefix_is_deleted_with_all_below_and_nothing_beside(store: Storage) -> None:
    for key in ("a/person.jpg", "a/garment.jpg", "ab/person.jpg", "b/person.jpg"):
        store.put(f"inputs/{key}", b"x")
    store.put("outputs/a/1.jpg", b"x")

    assert store.delete_prefix("inputs/a") == 2

    assert keys(store) == ["inputs/ab/person.jpg", "inputs/b/person.jpg"]
    assert keys(store, "outputs") == ["outputs/a/1.jpg"]
    assert store.delete_prefix("inputs/a") == 0


def test_one_object_is_deleted_alone(store: Storage) -> None:
    store.put("outputs/a/1.jpg", b"x")
    store.put("outputs/a/2.jpg", b"x")

    store.delete("outputs/a/1.jpg")

    assert keys(store, "outputs") == ["outputs/a/2.jpg"]


def test_objects_tell_size_and_age(store: Storage) -> None:
    before = time.time()
    store.put("inputs/a/person.jpg", b"12345")

    (found,) = store.objects("inputs")

    assert (found.key, found.size, found.is_draft) == ("inputs/a/person.jpg", 5, False)
    assert before - 2 <= found.modified <= time.time() + 2


def test_a_reader_that_is_open_survives_the_delete(store: Storage) -> None:
    store.put("inputs/a/person.jpg", b"x" * 200_000)
    reader, _ = store.open("inputs/a/person.jpg")

    store.delete_prefix("inputs/a")

    with reader:
        assert len(reader.read()) == 200_000


def test_a_storage_that_works_passes_its_check_and_is_left_clean(store: Storage) -> None:
    store.check()

    assert keys(store) == []


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "..", "../x", "inputs/../x", "inputs//x", "/etc/passwd", "inputs/a/", "C:x"),
        *("inputs/a b", "inputs/\x00", "inputs/ä", "inputs\\a", "inputs/a\n", "INPUTS/a", "./a"),
    ],
)
def test_a_key_that_is_not_of_plain_words_is_refused(store: Storage, key: str) -> None:
    for use in (store.get, store.open, store.delete, store.delete_prefix, store.exists):
        with pytest.raises(ValueError, match="plain words"):
            use(key)
    with pytest.raises(ValueError, match="plain words"):
        store.put(key, b"x")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_no_key_leads_out_of_the_storage(tmp_path: Path, key: str) -> None:
    storage = LocalStorage(tmp_path / "uploads")

    try:
        storage.put(key, b"x")
    except (ValueError, StorageUnavailable):
        return

    outside = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert all(one.is_relative_to(tmp_path / "uploads") for one in outside)


def test_puts_and_deletes_at_once_leave_all_or_nothing(store: Storage) -> None:
    ids = [str(uuid4()) for _ in range(10)]

    def put(id_: str) -> None:
        store.put(f"inputs/{id_}/person.jpg", b"x" * 1000)
        store.put(f"inputs/{id_}/garment.jpg", b"y" * 1000)

    with ThreadPoolExecutor(8) as pool:
        puts = [pool.submit(put, id_) for id_ in ids]
        deletes = [pool.submit(store.delete_prefix, f"inputs/{id_}") for id_ in ids * 3]
        assert not [one for one in puts if one.exception()]
        assert not [one for one in deletes if one.exception()]

    assert all(one.size == 1000 for one in store.objects("inputs"))
    for id_ in ids:
        store.delete_prefix(f"inputs/{id_}")
    assert keys(store) == []


# --- the local disk ---


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "uploads")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_draft_and_keeps_what_was_there(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    local.put("inputs/a/person.jpg", b"the first one")

    def full(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageFull):
            local.put("inputs/a/person.jpg", b"the second one")

    assert local.get("inputs/a/person.jpg") == b"the first one"
    assert [one.name for one in (local.root / "inputs" / "a").iterdir()] == ["person.jpg"]


def test_a_broken_disk_is_unavailable_and_tells_no_path(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "input/output error", str(local.root))

    monkeypatch.setattr(os, "fsync", broken)

    with pytest.raises(StorageUnavailable) as caught:
        local.put("inputs/a/person.jpg", b"x")

    assert str(local.root) not in str(caught.value)


def test_what_a_crash_left_is_told_as_a_draft(local: LocalStorage) -> None:
    local.put("inputs/a/person.jpg", b"x")
    (local.root / "inputs" / "a" / ".draft-0123456789abcdef").write_bytes(b"half")

    drafts = [one.key for one in local.objects("inputs") if one.is_draft]

    assert drafts == ["inputs/a/.draft-0123456789abcdef"]
    local.delete(drafts[0])
    assert keys(local) == ["inputs/a/person.jpg"]


def test_where_no_folder_can_be_the_check_says_so(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("a file")

    with pytest.raises(StorageUnavailable):
        LocalStorage(tmp_path / "uploads").check()


def test_the_last_object_takes_its_folder_along(local: LocalStorage) -> None:
    local.put("outputs/a/1.jpg", b"x")

    local.delete("outputs/a/1.jpg")

    assert list((local.root / "outputs").iterdir()) == []


def test_a_folder_that_is_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "uploads")
    storage.put("inputs/one/person.jpg", b"x")
    (tmp_path / "uploads").rename(tmp_path / "away")

    with pytest.raises(StorageUnavailable):
        storage.delete_prefix("inputs/one")


def test_a_file_that_is_not_ours_is_passed_over(local: LocalStorage) -> None:
    local.put("inputs/a/person.jpg", b"x")
    for name in (".DS_Store", "a/Thumbs.db", "a/me at home.jpg"):
        (local.root / "inputs" / name).write_bytes(b"x")

    assert keys(local) == ["inputs/a/person.jpg"]


def test_a_folder_that_a_crash_left_empty_goes_once_it_is_old(local: LocalStorage) -> None:
    local.put("inputs/a/person.jpg", b"x")
    for name in ("b", "c"):
        (local.root / "inputs" / name).mkdir()
    now = time.time()
    os.utime(local.root / "inputs/b", (now - 7200, now - 7200))

    local.tidy("inputs", before=now - 3600)
    local.tidy("outputs", before=now)

    assert sorted(one.name for one in (local.root / "inputs").iterdir()) == ["a", "c"]
    assert local.get("inputs/a/person.jpg") == b"x"
