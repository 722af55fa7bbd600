"""Receipts: whatever is changed shows, and there is one spelling."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.services import receipts
from app.services.receipts import Issuer, ReceiptInvalid, Written
from app.signing import Keyring

NOW = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
SESSION = UUID("7d6f1f0e-8f3a-4f0e-9d0a-0c8e4a1b2c3d")
CIPHERTEXT = b"\x01 what a sealed picture begins with"
SECRETS = ["the first secret of two", "the other secret of two"]

KEYS = st.builds(
    "{}/{}/{}".format,
    st.sampled_from(["inputs", "outputs"]),
    st.uuids(),
    st.sampled_from(["person.jpg", "garment.jpg", "1.webp", ".draft-0011"]),
)
INSTANTS = st.timedeltas(timedelta(0), timedelta(days=36525)).map(lambda after: NOW + after)
STORED = st.dictionaries(KEYS, st.builds(receipts.written, st.binary()), max_size=4)


def issuer(*secrets: str) -> Issuer:
    return Issuer(Keyring(secrets or SECRETS[:1]).receipt_seeds, keep=timedelta(days=1))


def issue(by: Issuer | None = None, **changes: Any) -> receipts.Document:
    values = {
        "reason": "request",
        "erased_at": NOW,
        "stored": {
            f"outputs/{SESSION}/1.jpg": receipts.written(b"a picture in clear"),
            f"inputs/{SESSION}/person.jpg": receipts.written(CIPHERTEXT),
        },
        "others": 0,
    }
    return (by or issuer()).issue(SESSION, **{**values, **changes})


def test_a_receipt_tells_what_was_erased_and_nothing_of_whose_it_was() -> None:
    receipt = issue()

    text = json.dumps(receipt)
    assert str(SESSION) not in text
    assert receipt["statement"] == {
        "type": "tryonai.deletion",
        "version": 1,
        "session_sha256": hashlib.sha256(str(SESSION).encode()).hexdigest(),
        "reason": "request",
        "erased_at": "2026-11-22T10:05:00.000Z",
        "pictures": [
            {
                "role": "input",
                "size": len(CIPHERTEXT),
                "sha256": hashlib.sha256(CIPHERTEXT).hexdigest(),
            },
            {"role": "output", "size": 18, "sha256": None},
        ],
        "others": 0,
    }


@given(STORED, st.integers(0, 2**53 - 1), INSTANTS)
def test_what_is_issued_is_valid(stored: dict[str, Written], others: int, at: datetime) -> None:
    by = issuer()

    receipt = issue(by, stored=stored, others=others, erased_at=at)

    found = receipts.check(json.loads(json.dumps(receipt)), by.public_keys)
    assert len(found.statement.pictures) == len(stored)


@given(STORED)
def test_what_is_signed_is_rfc_8785_and_plain_sorted_json_too(stored: dict[str, Written]) -> None:
    receipt = issue(stored=stored)
    signed = {name: part for name, part in receipt.items() if name != "signature"}

    message = receipts.message(receipt)

    assert message == rfc8785.dumps(signed)
    assert message == json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, part in parts:
        yield (*path, name)
        yield from leaves(part, *path, name)


RECEIPT = issue()
PATHS = st.sampled_from(list(leaves(RECEIPT)))
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({})
)


@given(PATHS, VALUES)
def test_a_change_of_any_value_shows(path: tuple[Any, ...], value: Any) -> None:
    changed = deepcopy(RECEIPT)
    *way, name = path
    part = changed
    for step in way:
        part = part[step]
    if part[name] == value and type(part[name]) is type(value):
        return
    part[name] = value

    with pytest.raises(ReceiptInvalid):
        receipts.check(changed, issuer().public_keys)


@given(PATHS)
def test_what_is_left_out_shows(path: tuple[Any, ...]) -> None:
    changed = deepcopy(RECEIPT)
    *way, name = path
    part = changed
    for step in way:
        part = part[step]
    del part[name]

    with pytest.raises(ReceiptInvalid):
        receipts.check(changed, issuer().public_keys)


@pytest.mark.parametrize("where", [(), ("statement",), ("statement", "pictures", 0)])
def test_an_unknown_member_is_refused_although_it_is_signed(where: tuple[Any, ...]) -> None:
    by = issuer()
    changed = deepcopy(RECEIPT)
    part: Any = changed
    for step in where:
        part = part[step]
    part["also"] = "this"
    changed["signature"] = sign(by, changed)

    with pytest.raises(ReceiptInvalid, match="also"):
        receipts.check(changed, by.public_keys)


def sign(by: Issuer, receipt: dict[str, Any]) -> str:
    signature = by._key.sign(receipts.message(receipt))
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("others", other) for other in (True, 0.0, -0.0, "0", -1)),
        *(("version", other) for other in (True, 1.0, "1", 2)),
    ],
)
def test_a_number_is_an_integer_although_another_is_signed(name: str, number: object) -> None:
    by = issuer()
    changed = deepcopy(RECEIPT)
    changed["statement"][name] = number
    changed["signature"] = sign(by, changed)

    with pytest.raises(ReceiptInvalid, match=name):
        receipts.check(changed, by.public_keys)


@pytest.mark.parametrize("spelling", ["-0", "0.0", "0e0"])
def test_a_number_has_one_spelling(spelling: str) -> None:
    changed = json.dumps(RECEIPT).replace('"others": 0', f'"others": {spelling}')

    with pytest.raises(ReceiptInvalid):
        receipts.check(receipts.read(changed)[0], issuer().public_keys)


def test_another_spelling_of_the_same_signature_is_refused() -> None:
    signature = RECEIPT["signature"]
    # 64 bytes are 85 digits of base64 and two bits: the last digit has four that mean nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    spellings = [signature[:-1] + alphabet[last ^ bits] for bits in range(1, 16)]
    spellings += [signature + "==", signature.replace("-", "+").replace("_", "/") + "=="]
    spellings += [f"{signature[:40]}\n{signature[40:]}", f" {signature}"]

    for spelling in spellings:
        with pytest.raises(ReceiptInvalid):
            receipts.check({**RECEIPT, "signature": spelling}, issuer().public_keys)
    assert receipts.check(RECEIPT, issuer().public_keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        '{"id": 1, "id": 2}',
        '{"statement": {"others": 0, "others": 0}}',
        "[" * 100_000,
        "\ud800",
    ],
)
def test_what_is_no_json_or_says_a_thing_twice_is_refused(text: str) -> None:
    with pytest.raises(ReceiptInvalid):
        receipts.read(text)


@given(st.recursive(VALUES, lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_anything_else_is_refused_in_words(content: Any) -> None:
    with pytest.raises(ReceiptInvalid) as refused:
        receipts.check(content, issuer().public_keys)

    assert refused.value.detail.endswith(".")


def test_one_receipt_a_list_and_an_answer_are_read() -> None:
    for content in (RECEIPT, [RECEIPT], {"items": [RECEIPT]}):
        assert receipts.read(json.dumps(content)) == [RECEIPT]


def test_after_a_rotation_what_was_signed_before_is_still_valid() -> None:
    old, new = SECRETS
    before = issue(issuer(old))
    rotated = issuer(new, old)

    published = receipts.read_jwk_set(json.dumps(receipts.jwk_set(rotated.public_keys)))

    assert receipts.check(before, published)
    assert receipts.check(issue(rotated), published)
    assert issue(rotated)["key_id"] != before["key_id"]
    with pytest.raises(ReceiptInvalid, match="key"):
        receipts.check(before, issuer(new).public_keys)


def test_a_receipt_of_somebody_else_is_refused_whatever_key_it_names() -> None:
    stranger = issuer("the secret of somebody else")
    forged = issue(stranger)
    forged["key_id"] = RECEIPT["key_id"]
    forged["signature"] = sign(stranger, forged)

    with pytest.raises(ReceiptInvalid, match="signature"):
        receipts.check(forged, issuer().public_keys)


def test_the_key_id_is_the_thumbprint_of_rfc_8037() -> None:
    # Its appendix A.3.
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    public_key = base64.urlsafe_b64decode(x + "=")

    assert receipts.key_id(public_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert receipts.jwk_set([public_key])["keys"][0]["x"] == x


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"keys": 1}', '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}'],
)
def test_what_is_no_key_set_is_refused(text: str) -> None:
    with pytest.raises(ReceiptInvalid):
        receipts.read_jwk_set(text)


def test_keys_of_other_kinds_are_passed_over() -> None:
    keys = receipts.jwk_set(issuer().public_keys)["keys"]

    found = receipts.read_jwk_set(json.dumps({"keys": [{"kty": "RSA"}, *keys]}))

    assert found == issuer().public_keys
