"""Engines of others: found, set up and used; what docs/engines.md says is tried as it stands."""

from __future__ import annotations

import hashlib
import io
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.config import load_settings
from app.engines.process import EngineProcess
from app.errors import EngineUnavailable
from app.runtime import offered_engine
from tests import people
from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper, Sql, wait_for

DOCS = Path(__file__).resolve().parents[2] / "docs" / "engines.md"
ACTS = "tests.engines_for_tests:Acts"
AT_ONCE = "tests.engines_for_tests:AtOnce"


def plug_in(name: str = "my_engine.py") -> str:
    """A program of the page."""
    program = rf"```python\n(# {re.escape(name)}.*?)```"
    found = re.search(program, DOCS.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_a_plug_in_has_25_lines_at_most() -> None:
    assert len(plug_in().splitlines()) <= 25


@pytest.mark.slow
def test_the_plug_in_of_the_docs_works_as_it_stands(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_dir: Path
) -> None:
    (tmp_path / "my_engine.py").write_text(plug_in())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    client = make_client(
        engines=("mock", "my_engine:MyEngine"), worker_concurrency=1, weights_dir=weights_dir
    )
    shopper = Shopper(client)
    photo = people.photo("ada")

    answer = client.post(
        "/api/tryon/sessions",
        files={"person_image": ("me.jpg", photo, "image/jpeg")},
        data={"user_token": shopper.token, "engine": "my-engine", "output_format": "png"},
    )
    session = shopper.wait(answer.json()["id"], "completed")

    assert session["category"] == "tops"
    assert (session["provenance"]["engine"], session["provenance"]["version"]) == ("my-engine", "1")
    assert "pose_landmark_full.tflite" in session["provenance"]["weights"]
    made = np.asarray(Image.open(io.BytesIO(shopper.get(f"{session['id']}/output").content)))
    before = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    changed = (made != before).any(-1)
    assert 0.1 < changed.mean() < 0.6
    refused = shopper.wait(shopper.submit(engine="my-engine"), "failed")
    assert refused["error_code"] == "no_person"


@pytest.mark.slow
def test_the_model_of_the_docs_works_once_its_weights_are_there(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights_dir: Path
) -> None:
    file = tmp_path / "dye.npy"
    np.save(file, np.float32(0.5))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    program = plug_in("my_model.py").replace("what sha256sum says", digest)
    (tmp_path / "my_model.py").write_text(program)
    table = f'[dye]\nengine = "my_model:MyModel"\noptions = {{ folder = "{tmp_path}" }}\n'
    (tmp_path / "engines.toml").write_text(table)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = offered_engine(
        "dye",
        load_settings(
            _env_file=None, engines_file=tmp_path / "engines.toml", weights_dir=weights_dir
        ),
    )

    def said() -> str:
        with closing(EngineProcess(engine.spec, memory_mb=1000)) as process:
            try:
                process.start()
            except EngineUnavailable as exc:
                return exc.detail
        return "ready"

    assert said() == "ready"
    np.save(file, np.float32(0.6))
    assert f"{file} are not those" in said()
    file.unlink()
    assert said() == f"the weights {file} cannot be read: No such file or directory"


@pytest.mark.slow
def test_an_engine_with_one_process_has_one_run_at_a_time_and_holds_up_no_other(
    make_client: MakeClient, tmp_path: Path
) -> None:
    folder, file = tmp_path / "runs", tmp_path / "engines.toml"
    folder.mkdir()
    file.write_text(
        f'[card]\nengine = "{AT_ONCE}"\nconcurrency = 1\noptions = {{ folder = "{folder}" }}\n'
    )
    client = make_client(engines=("mock", "card"), engines_file=file, worker_concurrency=3)
    shopper = Shopper(client)

    ids = [shopper.submit(engine="card") for _ in range(4)]
    between = shopper.submit(engine="mock")

    shopper.wait(between, "completed")
    made = [shopper.wait(one, "completed")["provenance"] for one in ids]
    assert {one["details"]["at once"] for one in made} == {"1"}
    engines = shopper.health().json()["engines"]
    assert engines == {
        "mock": {"status": "ok", "ready": 3},
        "card": {"status": "ok", "ready": 1},
    }


@pytest.mark.parametrize(
    ("field", "value", "taken"),
    [("category", "bottoms", "tops"), ("mode", "fast", "balanced")],
)
def test_what_an_engine_does_not_do_is_refused_at_the_door(
    make_client: MakeClient, field: str, value: str, taken: str
) -> None:
    shopper = Shopper(make_client(engines=("mock", "tests.engines_for_tests:TopsOnly")))

    answer = shopper.post(engine="tops-only", **{field: value})

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == f"#/{field}"
    assert f"takes {taken}." in answer.json()["detail"]
    assert shopper.post(engine="tops-only", category="auto").status_code == 201


def test_a_session_tells_what_made_its_picture(make_client: MakeClient) -> None:
    shopper = Shopper(make_client(worker_concurrency=1))

    session_id = shopper.submit(seed=7, mode="fast", output_format="png")

    assert shopper.wait(session_id, "completed")["provenance"] == {
        "engine": "mock",
        "version": "1",
        "weights": {},
        "seed": 7,
        "category": "tops",
        "options": {"garment_photo_type": "flat-lay", "mode": "fast", "output_format": "png"},
        "cost": None,
        "details": {},
    }


def test_a_checkpoint_is_sealed_and_goes_when_the_session_is_final(
    make_client: MakeClient, sql: Sql
) -> None:
    client = make_client(engine=ACTS, engines=(ACTS,))
    session_id = Shopper(client).submit()
    sql('UPDATE tryon_sessions SET options = options || \'{"category": "keep_and_wait"}\'')

    shopper = Shopper(make_client(engine=ACTS, engines=(ACTS,), worker_concurrency=1))
    (kept,) = wait_for(
        lambda: sql("SELECT checkpoint FROM tryon_sessions WHERE checkpoint IS NOT NULL")
    )

    assert b"a provider's job" not in bytes(kept[0])
    shopper.delete(session_id)
    assert sql("SELECT 1 FROM tryon_sessions") == []
