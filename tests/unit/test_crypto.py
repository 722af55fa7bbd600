"""Pictures at rest: only the right key of the right session opens the right file, unchanged."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from app.services.crypto import ID_BYTES, OVERHEAD_BYTES, PictureUnreadable, Vault
from app.signing import Keyring
from tests import pictures

OLD, NEW = "the secret of last year", "the secret of this year"
ID = UUID("7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d")
NAME = f"inputs/{ID}/person.jpg"


def vault(*secrets: str, encrypt: bool = True) -> Vault:
    return Vault(Keyring(secrets or (NEW,)).wrapping, encrypt=encrypt)


@given(st.uuids(), st.text(max_size=80), st.binary(max_size=4096))
def test_what_is_sealed_comes_back(session_id: UUID, name: str, picture: bytes) -> None:
    key = vault().new_key(session_id)

    stored = key.seal(name, picture)

    assert len(stored) == len(picture) + OVERHEAD_BYTES
    assert vault().key_of(session_id, key.wrapped).unseal(name, stored) == picture


@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    key = vault().new_key(ID)
    stored = key.seal(NAME, data.draw(st.binary(max_size=64)))
    at = data.draw(st.integers(0, len(stored) - 1))
    changed = data.draw(
        st.sampled_from(
            [
                stored[:at]
                + bytes([stored[at] ^ data.draw(st.integers(1, 255))])
                + stored[at + 1 :],
                stored[:at],
                stored + b"\x00",
            ]
        )
    )

    with pytest.raises(PictureUnreadable):
        key.unseal(NAME, changed)


@given(st.data())
def test_any_change_of_a_wrapped_key_is_noticed(data: st.DataObject) -> None:
    wrapped = vault().new_key(ID).wrapped
    assert wrapped is not None
    at = data.draw(st.integers(0, len(wrapped) - 1))
    flipped = bytes([wrapped[at] ^ data.draw(st.integers(1, 255))])

    for changed in (wrapped[:at] + flipped + wrapped[at + 1 :], wrapped[:at], wrapped + b"\x00"):
        with pytest.raises(PictureUnreadable):
            vault().key_of(ID, changed)


def test_the_format_is_the_one_that_is_written_down() -> None:
    """With the library alone, as somebody would who has row, file and secret."""
    (wrapping,) = Keyring([NEW]).wrapping
    key = vault().new_key(ID)
    assert key.wrapped is not None

    own = AESGCM(wrapping).decrypt(key.wrapped[8:20], key.wrapped[20:], ID.bytes)
    stored = key.seal(NAME, b"the pixels")

    assert stored[:1] == b"\x01"
    assert AESGCM(own).decrypt(stored[1:13], stored[13:], NAME.encode()) == b"the pixels"


def test_a_stored_file_has_nothing_of_the_picture() -> None:
    picture = pictures.jpeg(pictures.photo(256, 256))

    stored = vault().new_key(ID).seal(NAME, picture)

    runs = {picture[at : at + 16] for at in range(len(picture) - 15)}
    assert not runs & {stored[at : at + 16] for at in range(len(stored) - 15)}
    assert not stored.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF"))


def test_the_same_picture_is_never_stored_as_the_same_bytes() -> None:
    keys = vault().new_key(ID), vault().new_key(ID)

    stored = {key.seal(NAME, b"same")[13:] for key in (*keys, *keys)}

    assert len(stored) == 4


def test_exchanged_files_are_refused() -> None:
    key = vault().new_key(ID)
    person, garment = key.seal(NAME, b"me"), key.seal(f"inputs/{ID}/garment.jpg", b"shirt")

    with pytest.raises(PictureUnreadable):
        key.unseal(NAME, garment)
    with pytest.raises(PictureUnreadable):
        vault().new_key(ID).unseal(NAME, person)


def test_a_key_is_of_no_use_in_the_row_of_another_session() -> None:
    wrapped = vault().new_key(ID).wrapped

    with pytest.raises(PictureUnreadable):
        vault().key_of(uuid4(), wrapped)


def test_a_plain_file_in_place_of_a_sealed_one_is_refused_and_the_other_way_round() -> None:
    sealing, plain = vault().new_key(ID), vault(encrypt=False).new_key(ID)

    with pytest.raises(PictureUnreadable):
        sealing.unseal(NAME, pictures.jpeg(pictures.photo()))
    with pytest.raises(PictureUnreadable):
        plain.unseal(NAME, sealing.seal(NAME, b"me"))


def test_without_encryption_pictures_are_stored_as_they_are() -> None:
    key = vault(encrypt=False).new_key(ID)

    assert key.wrapped is None
    assert key.seal(NAME, b"\xff\xd8me") == b"\xff\xd8me"
    assert vault().key_of(ID, None).unseal(NAME, b"\xff\xd8me") == b"\xff\xd8me"


def test_what_is_encrypted_is_read_when_nothing_is_encrypted_any_more() -> None:
    key = vault().new_key(ID)

    read = vault(encrypt=False).key_of(ID, key.wrapped).unseal(NAME, key.seal(NAME, b"me"))

    assert read == b"me"


def test_every_secret_unwraps_and_the_first_wraps() -> None:
    old = vault(OLD).new_key(ID)
    assert old.wrapped is not None
    stored = old.seal(NAME, b"me")
    both = vault(NEW, OLD)

    rewrapped = both.rewrap(ID, old.wrapped)

    assert both.key_of(ID, old.wrapped).unseal(NAME, stored) == b"me"
    assert vault(NEW).key_of(ID, rewrapped).unseal(NAME, stored) == b"me"
    assert rewrapped[:ID_BYTES] == both.ids[0] == vault(NEW).ids[0]
    assert old.wrapped[:ID_BYTES] == both.ids[1]


def test_a_secret_that_is_not_here_is_told_from_damage() -> None:
    wrapped = vault(OLD).new_key(ID).wrapped
    assert wrapped is not None

    with pytest.raises(PictureUnreadable) as missing:
        vault(NEW).key_of(ID, wrapped)
    with pytest.raises(PictureUnreadable) as damaged:
        vault(OLD).key_of(ID, wrapped[:-1] + b"\x00" + b"\x00")

    assert (missing.value.unknown_secret, damaged.value.unknown_secret) == (True, False)


def test_a_key_does_not_tell_itself() -> None:
    key = vault().new_key(ID)

    assert "AESGCM" not in repr(key)
