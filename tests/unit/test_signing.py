"""Keys: what is signed holds for exactly that, and no longer than it should."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signing import Keyring, hkdf_sha256, same_owner

RING = Keyring(["the present secret"])
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ID = UUID("7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d")
INSTANTS = st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
PICTURES = st.sampled_from(["input", "garment", "output"])


def parts(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def test_keys_are_derived_as_rfc_5869_says() -> None:
    """Appendix A.3: SHA-256 with an empty salt and no info; its first block."""
    wanted = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"

    assert hkdf_sha256(b"\x0b" * 22, info=b"").hex() == wanted


@given(st.uuids(), PICTURES, INSTANTS)
def test_what_was_signed_verifies_for_5_to_7_and_a_half_minutes(
    id_: UUID, picture: str, now: datetime
) -> None:
    signed = parts(RING.sign_url(id_, picture, now=now))

    expires = datetime.fromtimestamp(int(signed["expires"]), UTC)
    assert timedelta(minutes=5) <= expires - now <= timedelta(minutes=7.5)
    assert int(signed["expires"]) % 150 == 0
    assert RING.verify_url(id_, picture, **signed, now=now)
    assert RING.verify_url(id_, picture, **signed, now=expires - timedelta(milliseconds=1))
    assert not RING.verify_url(id_, picture, **signed, now=expires)


@given(INSTANTS, st.integers(0, 149_999))
def test_within_a_step_the_address_stays_the_same(now: datetime, later_ms: int) -> None:
    begin = datetime.fromtimestamp(int(now.timestamp()) // 150 * 150, UTC)
    start = begin + timedelta(milliseconds=1)

    later = min(start + timedelta(milliseconds=later_ms), begin + timedelta(seconds=150))

    one, other = (RING.sign_url(ID, "input", now=instant) for instant in (start, later))
    assert one == other


@given(st.data())
def test_any_change_breaks_a_signature(data: st.DataObject) -> None:
    signed = parts(RING.sign_url(ID, "input", now=NOW))
    name = data.draw(st.sampled_from(["expires", "signature"]))
    value = signed[name]
    at = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters().filter(lambda c: c != value[at]))
    changed = {**signed, name: value[:at] + other + value[at + 1 :]}

    assert not RING.verify_url(ID, "input", **changed, now=NOW)


@given(st.text(max_size=40), st.text(max_size=80))
def test_nothing_that_is_made_up_verifies(expires: str, signature: str) -> None:
    assert not RING.verify_url(ID, "input", expires=expires, signature=signature, now=NOW)


@given(st.uuids(), PICTURES, st.uuids(), PICTURES)
def test_a_signature_is_for_one_picture_of_one_session(
    id_: UUID, picture: str, other_id: UUID, other_picture: str
) -> None:
    signed = parts(RING.sign_url(id_, picture, now=NOW))

    valid = RING.verify_url(other_id, other_picture, **signed, now=NOW)

    assert valid == ((id_, picture) == (other_id, other_picture))


def test_with_a_new_secret_the_old_ones_addresses_and_owners_hold() -> None:
    old, both, new = Keyring(["old"]), Keyring(["new", "old"]), Keyring(["new"])
    by_old = parts(old.sign_url(ID, "input", now=NOW))

    assert both.verify_url(ID, "input", **by_old, now=NOW)
    assert not new.verify_url(ID, "input", **by_old, now=NOW)
    assert both.sign_url(ID, "input", now=NOW) == new.sign_url(ID, "input", now=NOW)
    assert same_owner(old.owner("a-token-of-mine"), both.owners("a-token-of-mine"))
    assert not same_owner(old.owner("a-token-of-mine"), new.owners("a-token-of-mine"))
    assert both.owner("a-token-of-mine") == new.owner("a-token-of-mine")


@given(st.text(min_size=1), st.text(min_size=1))
def test_owners_are_told_apart_and_no_token_shows(one: str, other: str) -> None:
    hashed = RING.owner(one)

    assert len(hashed) == 64
    assert same_owner(hashed, RING.owners(other)) == (one == other)
    assert len(one) < 8 or one not in hashed


def test_each_purpose_has_a_key_of_its_own() -> None:
    address = "203.0.113.1"

    owner, client = RING.owner(address), RING.client(address)

    assert len(client) == 8
    assert client.isdigit()
    assert int(owner[:16], 16) % 10**8 != int(client)


def test_without_a_secret_there_is_no_keyring() -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        Keyring([])
