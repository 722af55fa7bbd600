"""Several processes on one database and one folder behave as one service."""

from __future__ import annotations

from pathlib import Path

from tests.flows.conftest import Run, Serve, files_in, wait_for


def test_what_one_server_takes_another_works_on_and_a_third_shows(serve: Serve, run: Run) -> None:
    doors = [serve(worker_concurrency=0) for _ in range(2)]
    first, second = [door.ready().shopper for door in doors]
    assert first.health().json()["parts"]["worker"]["status"] == "degraded"

    worker = run("worker")
    wait_for(lambda: first.health().json()["status"] == "ok")
    session_id = first.submit()

    session = second.wait(session_id, "completed", within_s=3)
    assert second.http.get(session["output_image_url"]).status_code == 200
    worker.terminate()
    worker.wait()
    wait_for(lambda: second.health().json()["status"] == "degraded")


def test_what_one_server_erases_another_stops_to_work_on(serve: Serve, uploads: Path) -> None:
    door = serve(worker_concurrency=0)
    # It hangs without a word, and its lease runs for long: only the news can tell the worker.
    works = serve(mock_faults="1:hang", lease_seconds=30)
    first, second = door.ready().shopper, works.ready().shopper
    session_id, following = second.submit(seed=1), second.submit(seed=1)
    wait_for(lambda: first.see(session_id)["stage"] == "garment")

    assert first.delete(session_id).status_code == 204

    first.wait(following, "processing", within_s=3)
    assert "outcome=cancelled" in works.text
    assert second.get(session_id).status_code == 404
    assert not [name for name in files_in(uploads) if session_id in name]
