"""What an engine's process finds in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engines import guard


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_a_way_out_that_an_engine_without_one_does_not_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:3128")

    def found(*, offline: bool) -> bool:
        return name in guard.environment(tmp_path, allowed=(), device=None, offline=offline)

    assert (found(offline=True), found(offline=False)) == (False, True)


HELD_BACK = """
    SECRET_KEY metrics_token FASHN_API_KEY DATABASE_URL REDIS_URL SENTRY_DSN CELERY_BROKER_URL
    AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SHARED_CREDENTIALS_FILE AZURE_CLIENT_ID KUBECONFIG
    GOOGLE_APPLICATION_CREDENTIALS PGPASSFILE PGPASSWORD PGSERVICEFILE PGHOST NETRC DOCKER_HOST
    SSH_AUTH_SOCK SSHPASS GIT_ASKPASS DBUS_SESSION_BUS_ADDRESS OTEL_EXPORTER_OTLP_HEADERS
    VAULT_ADDR MODEL_TOKENS MY_CREDENTIALS SERVICE_COOKIE
"""

LET_THROUGH = """
    PATH PYTHONPATH LD_LIBRARY_PATH LANG TZ CUDA_HOME CUDA_DEVICE_ORDER NVIDIA_VISIBLE_DEVICES
    OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS PYTORCH_CUDA_ALLOC_CONF TORCH_HOME
    HF_HOME TOKENIZERS_PARALLELISM XLA_FLAGS TF_CPP_MIN_LOG_LEVEL TRITON_CACHE_DIR
    COMPASS_FOLDER KEYBOARD SYSTEMROOT VIRTUAL_ENV MY_MODEL
"""


@pytest.mark.parametrize("name", HELD_BACK.split())
def test_a_secret_is_kept_from_an_engine_that_does_not_name_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "secret")

    def found(*allowed: str) -> bool:
        return name in guard.environment(tmp_path, allowed=allowed, device=None, offline=True)

    assert (found(), found(name)) == (False, True)


@pytest.mark.parametrize("name", LET_THROUGH.split())
def test_what_libraries_are_set_up_by_comes_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "a value")

    found = guard.environment(tmp_path, allowed=(), device=None, offline=True)

    assert found[name] == "a value"


def test_a_password_in_an_address_is_a_secret_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_SERVER", "https://me:word@models.example/")
    monkeypatch.setenv("MODEL_MIRROR", "https://models.example/a@b")

    found = guard.environment(tmp_path, allowed=(), device=None, offline=True)

    assert "MODEL_SERVER" not in found
    assert "MODEL_MIRROR" in found
