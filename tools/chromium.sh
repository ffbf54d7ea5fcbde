#!/bin/sh
# Prints the path of a Chromium; installs Debian's package where there is none and that needs no password.
set -eu

find_it() {
    for name in ${FRAMEPACE_CHROMIUM:+"$FRAMEPACE_CHROMIUM"} chromium chromium-browser google-chrome; do
        command -v "$name" && return 0
    done
    return 1
}

find_it && exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    $as_root true 2>/dev/null || as_root=none
fi
if [ "$as_root" != none ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium; } >&2 || true
    find_it && exit 0
fi
cat >&2 <<'TEXT'
no Chromium was found, and none could be installed here
  what to do: install it (Debian, Ubuntu: apt-get install chromium), or set FRAMEPACE_CHROMIUM to its path
TEXT
exit 1
