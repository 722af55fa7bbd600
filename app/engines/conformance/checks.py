"""The checks, each a sentence that can be false."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from app import catalogue
from app.catalogue import Garment, Person
from app.engines import EngineSpec, licences
from app.engines.conformance.probe import ORDER, SEEN, Seen
from app.engines.frames import Job, Output
from app.engines.pool import EnginePool
from app.engines.process import GRACE_S, Watcher
from app.engines.registry import OfferedEngine
from app.errors import EngineError, EngineUnavailable, FailureCode, RunCancelled

if TYPE_CHECKING:
    from app.engines import Rgb

REFUSALS = frozenset(FailureCode) - {
    FailureCode.ENGINE_ERROR,
    FailureCode.ENGINE_TIMEOUT,
    FailureCode.ENGINE_OUT_OF_MEMORY,
    FailureCode.WORKER_LOST,
}
"""How an engine may say no."""

HEAVY = ("torch", "tensorflow", "jax", "onnxruntime", "diffusers", "transformers", "cv2", "scipy")
"""What the server must not import: megabytes and seconds each, and perhaps a crash."""

_LONGEST_S = 2.0
"""Without a call of check(): far more than GRACE_S, because machines are busy."""

_ASPECT = 0.02
_LEAST_SIDE = 256
_LEAST_CHANGE = 0.005
"""Of the pixels: a picture with less is the photo itself."""

_FACE = 16.0
"""Of 255, the mean difference in the face: an autoencoder's way and back makes 3 to 6."""

_ROUNDS, _LEAK_MB = 8, 10.0
"""Runs that memory is watched over, and what it may grow by in each, MB."""


@dataclass(frozen=True)
class Finding:
    """ok: None where there was nothing to judge."""

    ok: bool | None
    said: str = ""


@dataclass(frozen=True)
class Shown:
    """A row of the report: person, garment and what was made of them, encoded."""

    title: str
    person: bytes
    garment: bytes
    made: bytes | None
    said: str


@dataclass(frozen=True)
class Ran:
    """One run: the picture or the error, and what the probe saw; None where it did not end."""

    output: Output | None
    error: EngineError | None
    seen: Seen | None
    cancelled: bool = False

    @property
    def how(self) -> str:
        if self.error is not None:
            return f"{self.error.failure}: {self.error.log or self.error.detail}"
        return "cancelled" if self.cancelled else "a picture"


@dataclass
class Kit:
    """An engine under examination. folder: where probe and kit meet."""

    offered: OfferedEngine
    pool: EnginePool
    folder: Path
    weights_dir: Path | None
    timeout_s: float
    runs: list[Ran] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    usual_s: float = 1.0

    def run(
        self,
        person: bytes,
        garment: bytes,
        *,
        timeout_s: float | None = None,
        cancel_at: int | None = None,
        **of_job: Any,
    ) -> Ran:
        (self.folder / ORDER).write_text(json.dumps({"cancel_at": cancel_at}))
        (self.folder / SEEN).unlink(missing_ok=True)
        output, error, cancelled = None, None, False
        job = Job(person, garment, output_format="png", key="conformance", **of_job)
        with self.pool.one() as process:
            try:
                output = process.run(job, Watcher(), timeout_s=timeout_s or self.timeout_s)
            except RunCancelled:
                cancelled = True
            except EngineUnavailable as exc:
                error = EngineError(FailureCode.ENGINE_ERROR, log=exc.detail)
            except EngineError as exc:
                error = exc
                # The kit cancels by the probe; the process takes it for the deadline.
                cancelled = cancel_at is not None and exc.failure is FailureCode.ENGINE_TIMEOUT
        ran = Ran(output, error, self._read_seen(), cancelled)
        self.runs.append(ran)
        return ran

    def _read_seen(self) -> Seen | None:
        file = self.folder / SEEN
        return Seen(**json.loads(file.read_text())) if file.exists() else None

    def pairs(self) -> Iterator[tuple[Person, Garment]]:
        """Two for each category that it has: people whose picture shows enough."""
        for category in self.offered.info.categories:
            garments = [one for one in catalogue.garments() if one.category == category]
            for garment, turn in zip(garments, (0, 1), strict=False):
                fitting = [one for one in catalogue.people() if one.suits(garment)]
                yield fitting[turn * (len(fitting) - 1)], garment

    def one_pair(self) -> tuple[bytes, bytes, dict[str, Any]]:
        person, garment = next(self.pairs())
        return photo(person), garment.path.read_bytes(), _asked(garment)


def photo(person: Person, *, size: tuple[int, int] | None = None) -> bytes:
    """The person's picture as a JPEG, as the gate makes it."""
    from PIL import Image  # noqa: PLC0415 - heavy, and the command line imports this

    with Image.open(person.path) as image:
        picture = image.convert("RGB")
    if size is not None:
        picture = picture.resize(size)
    file = BytesIO()
    picture.save(file, "JPEG", quality=95)
    return file.getvalue()


def _asked(garment: Garment) -> dict[str, Any]:
    return {"category": garment.category, "garment_photo_type": garment.garment_photo_type}


def _pixels(data: bytes) -> Rgb:
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@contextmanager
def examining(
    offered: OfferedEngine,
    folder: Path,
    *,
    weights_dir: Path | None,
    timeout_s: float,
    memory_mb: int,
) -> Iterator[Kit]:
    """A kit for this engine; its process ends with the block."""
    spec = _probed(offered.spec, folder)
    pool = EnginePool(spec, memory_mb=memory_mb, slots=1)
    try:
        yield Kit(offered, pool, folder, weights_dir, spec.timeout_s or timeout_s)
    finally:
        pool.close()


def _probed(spec: EngineSpec, folder: Path) -> EngineSpec:
    """The same engine inside the probe; of a chain, each of its engines: the last one's is seen."""
    if spec.steps:
        steps = tuple((_probed(step, folder), info) for step, info in spec.steps)
        return replace(spec, steps=steps, concurrency=1)
    return replace(
        spec,
        target="app.engines.conformance.probe:Probed",
        options={
            "target": spec.target,
            "options": dict(spec.options),
            "folder": str(folder),
        },
        devices=spec.devices[:1],
        concurrency=1,
    )


# --- the checks, in the order in which they make sense --------------------------------------


def imports_cheaply(kit: Kit) -> Finding:
    spec = kit.offered.spec
    faults = [_import_fault(one) for one in (*(step for step, _ in spec.steps), spec)]
    return _judged([one for one in faults if one])


def _import_fault(spec: EngineSpec) -> str:
    if spec.steps:
        return ""
    module = spec.target.partition(":")[0]
    program = f"import sys, {module}\nprint(*(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"{module} cannot be imported by itself"
    heavy = done.stdout.split()
    return f"importing {module} imports {', '.join(heavy)}: do that in load" if heavy else ""


def states_its_licences(kit: Kit) -> Finding:
    objection = licences.objection(kit.offered.info)
    count = len(licences.of(kit.offered.info))
    if objection is not None:
        said = f"{objection.subject} is under {objection.licence}: needs ALLOW_NONCOMMERCIAL=true"
        return Finding(None, said)
    return Finding(True, f"{count}, all allow commercial use")


def loads(kit: Kit) -> Finding:
    try:
        kit.pool.start(0)
    except EngineUnavailable as exc:
        return Finding(False, exc.detail)
    return Finding(True)


def makes_pictures(kit: Kit) -> Finding:
    """Of sample people in sample garments, in the aspect of the photo, and not the photo itself."""
    faults, seconds = [], []
    for person, garment in kit.pairs():
        sent, cloth = photo(person), garment.path.read_bytes()
        ran = kit.run(sent, cloth, seed=1, **_asked(garment))
        made = ran.output.data if ran.output else None
        title = f"{person.name} in {garment.name}"
        kit.shown.append(Shown(title, sent, cloth, made, ran.how))
        fault = ran.how if ran.output is None else _picture_fault(sent, ran.output)
        if fault:
            faults.append(f"{title}: {fault}")
        elif ran.seen is not None:
            seconds.append(ran.seen.seconds)
    if seconds:
        kit.usual_s = sorted(seconds)[len(seconds) // 2]
    return _judged(faults, f"{len(seconds)} pictures, {kit.usual_s:.2f} s each")


def _picture_fault(sent: bytes, output: Output) -> str:
    import numpy as np  # noqa: PLC0415

    before, after = _pixels(sent), _pixels(output.data)
    fault = _size_fault(before.shape, after.shape)
    if not fault and before.shape == after.shape:
        changed = float((np.abs(before.astype(int) - after).max(-1) > 12).mean())
        if changed < _LEAST_CHANGE:
            fault = f"only {100 * changed:.1f} % of the photo changed"
    return fault


def _size_fault(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    aspect = (after[1] / after[0]) / (before[1] / before[0])
    if abs(aspect - 1) > max(_ASPECT, 1 / min(after[:2])):
        return f"{after[1]} × {after[0]} is not in the aspect of {before[1]} × {before[0]}"
    if min(after[:2]) < min(_LEAST_SIDE, *before[:2]):
        return f"{after[1]} × {after[0]} is smaller than {_LEAST_SIDE} pixels"
    return ""


def takes_any_size(kit: Kit) -> Finding:
    """From min_side up to 12 megapixels, wide and tall and odd: a picture, or a refusal."""
    person, garment = next(kit.pairs())
    least = kit.offered.info.min_side
    faults = []
    for size in ((least, least), (least + 1, 3 * least + 7), (1601, 901), (3000, 4000)):
        sent = photo(person, size=size)
        ran = kit.run(sent, garment.path.read_bytes(), seed=1, **_asked(garment))
        if ran.output is not None:
            fault = _size_fault((size[1], size[0]), _pixels(ran.output.data).shape)
        else:
            fault = "" if _is_refusal(ran) else ran.how
        if fault:
            faults.append(f"{size[0]} × {size[1]}: {fault}")
    return _judged(faults)


def _is_refusal(ran: Ran) -> bool:
    return ran.error is not None and ran.error.failure in REFUSALS


def is_deterministic(kit: Kit) -> Finding:
    if not kit.offered.info.deterministic:
        return Finding(None, "info says that it is not")
    person, garment, asked = kit.one_pair()
    first, second = (kit.run(person, garment, seed=7, **asked) for _ in range(2))
    if first.output is None or second.output is None:
        return Finding(False, "no two pictures to compare")
    same = first.output.data == second.output.data
    return Finding(same, "" if same else "the same request and seed gave two different pictures")


def gives_its_seed_back(kit: Kit) -> Finding:
    person, garment, asked = kit.one_pair()
    faults = []
    for seed in (0, 2**32 - 1):
        ran = kit.run(person, garment, seed=seed, **asked)
        if ran.output is None or ran.output.seed != seed:
            got = ran.how if ran.output is None else str(ran.output.seed)
            faults.append(f"seed {seed} came back as {got}")
    return _judged(faults)


def has_its_modes(kit: Kit) -> Finding:
    person, garment, asked = kit.one_pair()
    rans = [(one, kit.run(person, garment, mode=one, **asked)) for one in kit.offered.info.modes]
    return _judged([f"{mode}: {ran.how}" for mode, ran in rans if ran.output is None])


def tells_progress(kit: Kit) -> Finding:
    told = [one for ran in kit.runs if ran.seen for one in ran.seen.progress]
    faults = [
        f"{stage!r}, {fraction}"
        for stage, fraction in told
        if not (isinstance(stage, str) and 0 < len(stage) <= 64)
        or (fraction is not None and not (math.isfinite(fraction) and 0 <= fraction <= 1))
    ]
    if not told:
        return Finding(False, "it never called context.progress")
    return _judged(faults[:3], f"stages: {', '.join(dict.fromkeys(s for s, _ in told))[:200]}")


def stops_when_cancelled(kit: Kit) -> Finding:
    """check() is called often enough, and what it raises comes through."""
    person, garment, asked = kit.one_pair()
    whole = kit.run(person, garment, **asked)
    if whole.seen is None or not whole.seen.checks:
        return Finding(False, "it never called context.check")
    if whole.seen.longest_s > _LONGEST_S:
        said = f"{whole.seen.longest_s:.1f} s without a call of context.check"
        return Finding(False, said)
    ran = kit.run(person, garment, cancel_at=max(1, whole.seen.checks // 2), **asked)
    if ran.seen is None or ran.seen.outcome != "cancelled":
        how = ran.seen.outcome if ran.seen else "nothing"
        return Finding(False, f"what context.check raised was caught: {how} came of it")
    longest = f"at most {whole.seen.longest_s:.2f} s between two calls of check"
    more = f"; above {GRACE_S} s the process is killed" * (whole.seen.longest_s > GRACE_S)
    return Finding(True, longest + more)


def keeps_its_deadline(kit: Kit) -> Finding:
    """A late run stops by itself: the process need not be killed, nor the model be loaded anew.

    Where others want the cores it may be killed before its turn comes: it has three tries.
    """
    found = _ends_at_its_deadline(kit)
    for _ in range(2):
        if found.ok is False:
            found = _ends_at_its_deadline(kit)
    return found


def _ends_at_its_deadline(kit: Kit) -> Finding:
    person, garment, asked = kit.one_pair()
    ran = kit.run(person, garment, timeout_s=max(0.02, kit.usual_s / 2), **asked)
    if ran.output is not None:
        return Finding(None, "it was done before half of its usual time")
    # The first of a chain may have failed for another reason, with no time left for the next.
    late = ran.error is not None and (
        ran.error.failure is FailureCode.ENGINE_TIMEOUT or bool(kit.offered.spec.steps)
    )
    alive = kit.pool.ready > 0
    return Finding(late and alive, "" if alive and late else f"it had to be killed ({ran.how})")


def refuses_in_words(kit: Kit) -> Finding:
    """Pictures of nothing give a picture or a refusal, never an exception."""
    from PIL import Image  # noqa: PLC0415

    person, garment, asked = kit.one_pair()
    file = BytesIO()
    Image.new("RGB", (600, 800), (128, 128, 128)).save(file, "PNG")
    grey = file.getvalue()
    faults = []
    for name, pair in {
        "a photo of nothing": (grey, garment),
        "a picture of no garment": (person, grey),
        "category auto": (person, garment),
    }.items():
        more = asked if name != "category auto" else {}
        ran = kit.run(*pair, **more)
        if ran.output is None and not _is_refusal(ran):
            faults.append(f"{name}: {ran.how}")
    return _judged(faults)


def writes_into_scratch_only(kit: Kit) -> Finding:
    found = {name for ran in kit.runs if ran.seen for name in ran.seen.writes}
    return _judged([f"wrote {name}" for name in sorted(found)[:5]])


def connects_to_nobody(kit: Kit) -> Finding:
    egress = kit.offered.info.egress
    if egress is not None:
        return Finding(None, f"sends to {egress.host}, as it says")
    found = {host for ran in kit.runs if ran.seen for host in ran.seen.hosts}
    return _judged([f"wanted to connect to {host}" for host in sorted(found)[:5]])


def starts_what_it_names(kit: Kit) -> Finding:
    found = {name for ran in kit.runs if ran.seen for name in ran.seen.programs}
    said = [f"wanted to start {name}: name it in info.uses" for name in sorted(found)[:5]]
    return _judged(said, ", ".join(kit.offered.info.uses))


def leaves_nothing_running(kit: Kit) -> Finding:
    counts = [ran.seen.children for ran in kit.runs if ran.seen]
    grown = counts[-1] - counts[0] if counts else 0
    left = counts[0] if counts else 0
    more = f"{grown} more processes after {len(counts)} runs than after the first"
    return Finding(grown <= 0, more if grown > 0 else f"{left} processes of its own")


def keeps_its_memory(kit: Kit) -> Finding:
    person, garment, asked = kit.one_pair()
    sizes = []
    for _ in range(_ROUNDS):
        kit.run(person, garment, **asked)
        sizes.append(_resident_mb())
    half = _ROUNDS // 2
    growth = (min(sizes[half:]) - min(sizes[:half])) / half
    said = f"{growth:.1f} MB more with each run, {sizes[-1]:.0f} MB by now"
    return Finding(growth <= _LEAK_MB, said)


def _resident_mb() -> float:
    """Of the engine's process, the only child that this process has for long."""
    sizes = []
    for child in psutil.Process().children(recursive=True):
        try:
            sizes.append(child.memory_info().rss / 2**20)
        except psutil.Error:
            continue
    return sum(sizes)


def keeps_the_face(kit: Kit) -> Finding:
    from app.engines.warp import weights  # noqa: PLC0415

    if kit.weights_dir is None or any(weights.wrong(kit.weights_dir)):
        return Finding(None, "faces are found with warp's model files, which are not here")
    from app.engines.conformance.faces import Faces  # noqa: PLC0415 - heavy

    faces = Faces(kit.weights_dir)
    made = [(one.title, _pixels(one.person), _pixels(one.made)) for one in kit.shown if one.made]
    looked = [(title, faces.apart(before, after)) for title, before, after in made]
    found = [(title, apart) for title, apart in looked if apart is not None]
    if not found:
        return Finding(None, "no picture shows a face")
    faults = [
        f"{title}: it differs by {apart:.0f} of 255" for title, apart in found if apart > _FACE
    ]
    worst = max(apart for _, apart in found)
    return _judged(faults, f"differs by {worst:.1f} of 255 at the most, in {len(found)} pictures")


def _judged(faults: list[str], otherwise: str = "") -> Finding:
    return Finding(not faults, "; ".join(faults) or otherwise)


CHECKS: tuple[Callable[[Kit], Finding], ...] = (
    imports_cheaply,
    states_its_licences,
    loads,
    makes_pictures,
    takes_any_size,
    is_deterministic,
    gives_its_seed_back,
    has_its_modes,
    tells_progress,
    stops_when_cancelled,
    keeps_its_deadline,
    refuses_in_words,
    keeps_its_memory,
    writes_into_scratch_only,
    connects_to_nobody,
    starts_what_it_names,
    leaves_nothing_running,
    keeps_the_face,
)


def examine(kit: Kit) -> Iterator[tuple[str, Finding]]:
    """All checks, by name; one that does not load is asked nothing more."""
    for check in CHECKS:
        finding = check(kit)
        yield check.__name__, finding
        if check is loads and not finding.ok:
            return
