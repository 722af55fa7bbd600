"""Walk through deploy/Dockerfile without a container engine: python .ci/image.py build FOLDER

Each stage becomes a folder, each RUN a chroot into it, each COPY a copy of what git and
Dockerfile.dockerignore let through. The base images are not pulled: every stage begins as Debian
bookworm with its own Python 3.11, and for the page with this machine's Node.js. So it shows that
the steps work and what they make, not that the images are there.

As root, with debootstrap and the network; DEBIAN_MIRROR names another mirror, LEND folders that
the steps are to see. FOLDER/image is then the image's root, and

    python .ci/image.py run FOLDER [ARGUMENT…]

starts it as deploy/ does: its user without a capability, its root read-only, /tmp in memory, and of
the environment the settings alone. Its network is this machine's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LENT = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/etc/pip.conf"]
KEPT = ("PIP_", "NODE_EXTRA_", "npm_config_", "NPM_CONFIG_", "SSL_CERT_")
KEPT += ("http", "no_proxy", "HTTP", "NO_PROXY")


def start(folder: Path, arguments: list[str]) -> None:
    """Become the image's process."""
    how = json.loads((folder / "image.json").read_text())
    named = re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    given = {name: os.environ[name] for name in named if name in os.environ}
    user, group = how["user"].split(":")
    bound = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    command = ["setpriv", f"--reuid={user}", f"--regid={group}", *bound, "--"]
    command += ["sh", "-c", f'cd {how["folder"]} && exec "$@"', "sh", *how["command"]]
    if arguments:
        del command[command.index("app") + 1 :]
        command += arguments
    root = shlex.quote(str(folder / "image"))
    script = f"""mount --bind {root} {root} && mount -o remount,bind,ro {root} &&
        mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev &&
        mount -t tmpfs -o mode=1777,size=512m tmp {root}/tmp &&
        exec chroot {root} {shlex.join(command)}"""
    apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    os.execvpe(apart[0], apart, {**how["settings"], **given})


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    base, context = folder / "base", folder / "context"
    if not (base / "usr/bin/python3.11").exists():
        make_base(base)
    make_context(context)
    image = build(folder, base, context)
    print(f"{image.root}: {size(image.root) - size(base):.0f} MB above its base")


def make_base(base: Path) -> None:
    mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
    packages = "--include=python3,python3-venv,ca-certificates"
    command = ["debootstrap", "--variant=minbase", packages, "bookworm", str(base), mirror]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_context(context: Path) -> None:
    """What a builder is sent: what git would have, as Dockerfile.dockerignore filters it."""
    shutil.rmtree(context, ignore_errors=True)
    listed = ["git", "-C", str(ROOT), "ls-files", "-z"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")
    rules = [
        line
        for line in (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    for name in filter(None, names):
        if not ignored(name, rules):
            target = context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def ignored(name: str, rules: list[str]) -> bool:
    """The last rule that fits the file, or a folder above it, decides."""
    parts = name.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    found = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        if any(fnmatch(one, pattern) for one in above) or (
            anywhere != pattern and any(fnmatch(part, anywhere) for part in parts)
        ):
            found = not rule.startswith("!")
    return found


class Stage:
    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, "/"
        self.settings = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin"}
        self.user, self.command = "0:0", [[], []]

    def path(self, name: str) -> Path:
        return self.root / os.path.normpath(os.path.join(self.folder, name)).lstrip("/")


def build(folder: Path, base: Path, context: Path) -> Stage:
    stages: dict[str, Stage] = {}
    stage = None
    for word, rest in instructions((ROOT / "deploy/Dockerfile").read_text()):
        print(f"{word} {rest}"[:150], flush=True)
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            name = name or "image"
            stages[name] = stage = Stage(folder / name)
            begin(stage, base, with_node=image.startswith("node:"))
            continue
        assert stage is not None
        if word == "COPY":
            copy(stage, rest, stages, context)
        elif word == "RUN":
            run(stage, rest)
        elif word == "WORKDIR":
            stage.folder = os.path.join(stage.folder, rest)
            stage.path(".").mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                stage.settings[key] = value.replace("$PATH", stage.settings["PATH"])
        elif word == "USER":
            stage.user = rest
        elif word in ("ENTRYPOINT", "CMD"):
            stage.command[word == "CMD"] = json.loads(rest)
        elif word not in ("EXPOSE", "HEALTHCHECK"):
            raise SystemExit(f"unknown: {word}")
    assert stage is not None
    how = {"settings": stage.settings, "user": stage.user, "folder": stage.folder}
    how_file = folder / "image.json"
    how_file.write_text(
        json.dumps({**how, "command": [*stage.command[0], *stage.command[1]]}, indent=2)
    )
    return stage


def instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def begin(stage: Stage, base: Path, *, with_node: bool) -> None:
    shutil.rmtree(stage.root, ignore_errors=True)
    subprocess.run(["cp", "-a", str(base), str(stage.root)], check=True)
    (stage.root / "usr/local/bin/python").symlink_to("/usr/bin/python3.11")
    if with_node:
        node = Path(shutil.which("node") or "").resolve()
        shutil.copy2(node, stage.root / "usr/local/bin/node")
        npm = (Path(shutil.which("npm") or "").resolve()).parent.parent
        shutil.copytree(npm, stage.root / "opt/npm", symlinks=True)
        (stage.root / "usr/local/bin/npm").symlink_to("/opt/npm/bin/npm-cli.js")


def copy(stage: Stage, rest: str, stages: dict[str, Stage], context: Path) -> None:
    words = rest.split()
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, last = words
    target = stage.path(last)
    for name in names:
        found = source / name.lstrip("/")
        if found.is_dir():
            shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True)
        else:
            into = target / found.name if last.endswith("/") else target
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, into)


def run(stage: Stage, command: str) -> None:
    """In a mount namespace of its own, with this machine's way to the packages."""
    mounts = [f"mount -t proc proc {stage.root}/proc", f"mount --rbind /dev {stage.root}/dev"]
    home = Path.home()
    lent = {Path(one): one for one in LENT}
    lent |= {home / ".config/pip/pip.conf": "/etc/xdg/pip/pip.conf"}
    lent |= {home / ".npmrc": "/root/.npmrc"}
    lent |= {Path(one): one for one in os.environ.get("LEND", "").split(":") if one}
    for source, there in lent.items():
        if source.exists():
            place = stage.root / there.lstrip("/")
            if source.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            mounts.append(f"mount --bind {source} {place}")
    inner = f"cd {shlex.quote(stage.folder)} && {command}"
    script = " && ".join([*mounts, f"exec chroot {stage.root} /bin/sh -c {shlex.quote(inner)}"])
    settings = {k: v for k, v in os.environ.items() if k.startswith(KEPT)}
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        env={**settings, "HOME": "/root", **stage.settings},
        check=True,
    )


def size(folder: Path) -> float:
    said = subprocess.run(["du", "-smx", str(folder)], check=True, capture_output=True, text=True)
    return float(said.stdout.split()[0])


if __name__ == "__main__":
    word, where, *rest = sys.argv[1:]
    if word == "run":
        start(Path(where).resolve(), rest)
    main(Path(where).resolve())
