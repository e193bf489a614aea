#!/bin/sh
# Puts a runnable llama-server (Debian's package llama.cpp-tools) and everything that it needs, its own C library
# included, into one folder. The system is not touched: Debian's packages are fetched by apt with private lists and a
# private, empty package database, and are only unpacked.
#
#   setup-llama-server.sh [DIR]     DIR: .cache/llama of this project. Prints DIR/bin/llama-server as its last line.
#   LLAMA_REFRESH=1                 do it again where it is done already
#   LLAMA_SUITE=sid                 the Debian suite to take it from
#   LLAMA_MIRROR=URI                for a machine whose own apt sources serve no Debian suite
#
# The mirror is the one that this machine's apt uses for its own Debian release: "apt-get update --print-uris" is apt's
# own reading of its sources and needs no network. Signatures are checked with the machine's Debian archive keyring.
set -eu
umask 022
say() { printf '%s\n' "setup-llama-server: $*" >&2; }
die() { say "$*"; exit 1; }

[ $# -le 1 ] || die "usage: $0 [DIR]"
target=${1:-$(dirname "$0")/../../.cache/llama}
mkdir -p "$(dirname "$target")"
dir=$(cd "$(dirname "$target")" && pwd -P)/$(basename "$target")
case $dir in *[:\ ]*) die "the folder's path may hold no colon and no space: $dir" ;; esac
server=$dir/bin/llama-server
stamp=$dir/.llama-server-setup

if [ -z "${LLAMA_REFRESH:-}" ] && [ -f "$stamp" ] && "$server" --version >/dev/null 2>&1; then
  say "already set up: $(head -n 1 "$stamp")"
  printf '%s\n' "$server"
  exit 0
fi
if [ -e "$dir" ] && [ ! -f "$stamp" ] && [ -n "$(ls -A "$dir")" ]; then
  die "$dir is not empty and was not made by this script"
fi

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "no $keyring (package debian-archive-keyring)"
for tool in apt-get apt-config dpkg-deb; do
  command -v "$tool" >/dev/null || die "no $tool: this needs a Debian machine"
done
suite=${LLAMA_SUITE:-sid}
codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
mirror=${LLAMA_MIRROR:-$(apt-get update --print-uris 2>/dev/null |
  sed -n "s|^'\([^']*\)/dists/$codename/InRelease' .*|\1|p" | head -n 1)}
[ -n "$mirror" ] || die "no apt source here serves dists/$codename/InRelease; name one in LLAMA_MIRROR"

work=$(mktemp -d "${TMPDIR:-/tmp}/llama-setup.XXXXXX")
trap 'rm -rf "$work" "$dir.new"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$work" # apt fetches as a user of its own, who must get in
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status" # nothing is installed, so apt resolves everything down to the C library
printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
  "$mirror" "$suite" "$keyring" >"$work/debian.sources"
# The machine's settings for fetching are kept (a proxy; what it thinks of a mirror frozen in the past); its hooks,
# pins, other sources and extra indexes are not.
apt-config dump | grep '^Acquire::' |
  grep -vE '^Acquire::(IndexTargets|Languages|Changelogs|cdrom)' >"$work/apt.conf" || true
cat >>"$work/apt.conf" <<CONF
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::SourceList "$work/debian.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$work";
Dir::State::Lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Log "$work";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Install-Recommends "false";
Debug::NoLocking "true";
CONF
apt() {
  APT_CONFIG="$work/apt.conf" apt-get -q -y "$@" >>"$work/apt.log" 2>&1 || {
    tail -n 15 "$work/apt.log" >&2
    die "apt-get $* failed"
  }
}
say "fetching llama.cpp-tools from $mirror $suite"
apt update
apt --download-only install llama.cpp-tools patchelf

rm -rf "$dir.new"
mkdir -p "$dir.new/bin"
for deb in "$work"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$dir.new/root"; done
libc=$(find "$dir.new/root/usr/lib" -name libc.so.6)
new=${libc%/*}               # where the libraries lie now
lib=$dir/${new#"$dir.new/"}  # and where they will
loader=$(basename "$(find "$new" -maxdepth 1 -name 'ld-linux*.so.*' | head -n 1)")
patchelf() { "$new/$loader" --library-path "$new" "$dir.new/root/usr/bin/patchelf" "$@"; }

# The program gets absolute paths of its loader and its libraries, so that it is an ordinary process: one pid, its own
# name, and /proc/self/exe is itself. Debian's run paths on the libraries would hide the program's: they go. The CPU
# backends lie beside the program, where it looks for them.
cp "$dir.new/root/usr/bin/llama-server" "$dir.new/bin/llama-server"
patchelf --set-interpreter "$lib/$loader" --force-rpath --set-rpath "$lib/llama:$lib" "$dir.new/bin/llama-server"
find "$new" -maxdepth 3 -type f -name 'lib*.so*' \
  \( -path '*/llama/*' -o -name 'libllama*' -o -name 'libmtmd*' -o -name 'libggml*' \) |
  while read -r file; do patchelf --remove-rpath "$file"; done
for backend in "$new"/ggml/backends*/*.so; do ln -s "../${backend#"$dir.new/"}" "$dir.new/bin/"; done

package=$(basename "$work"/cache/archives/llama.cpp-tools_*.deb .deb | sed 's/%3a/:/')
{
  printf '%s\n' "$package from $mirror $suite"
  (cd "$work/cache/archives" && ls -1 ./*.deb | sed 's|^\./||; s/%3a/:/')
} >"$dir.new/.llama-server-setup"
rm -rf "$dir"
mv "$dir.new" "$dir"
missing=$("$lib/$loader" --list "$server" | grep 'not found' || true)
[ -z "$missing" ] || die "libraries missing: $missing"
"$server" --version >/dev/null 2>&1 || die "$server does not run"
say "done: $package, $(du -sh "$dir" | cut -f1)"
printf '%s\n' "$server"
