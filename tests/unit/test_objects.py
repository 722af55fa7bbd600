"""What STORAGE names becomes a store of its kind; no network is asked."""

from __future__ import annotations

import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from app.config import load_settings
from app.errors import SettingsError
from app.runtime import storage_of
from app.services.objects import ObjectStorage


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")


@pytest.mark.usefixtures("azure")
@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("s3://bucket/prefix", S3Store),
        ("gs://bucket/prefix/", GCSStore),
        ("az://container/prefix", AzureStore),
    ],
)
def test_an_address_becomes_a_store_of_its_kind(
    url: str, kind: type[S3Store | GCSStore | AzureStore]
) -> None:
    storage = storage_of(load_settings(storage=url, _env_file=None))

    assert isinstance(storage, ObjectStorage)
    for store in (storage._store, storage._probe):
        assert isinstance(store, kind)
        assert getattr(store, "prefix", None) == "prefix"  # those of other kinds have none


@pytest.mark.parametrize(
    ("url", "variable", "value"),
    [
        ("gs://bucket", "GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/my-secret.json"),
        ("az://container", "AZURE_STORAGE_ACCOUNT_KEY", "my-secret"),
    ],
)
def test_credentials_that_cannot_be_used_are_named_and_not_told(
    url: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable) as caught:
        storage_of(load_settings(storage=url, _env_file=None))

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["gcs://bucket", "azure://container", "file:///tmp", "s3://k:s@b"])
def test_an_address_that_nobody_serves_is_refused_with_those_that_are(url: str) -> None:
    with pytest.raises(SettingsError, match="s3://bucket/prefix") as caught:
        load_settings(storage=url, _env_file=None)

    assert url not in str(caught.value)
