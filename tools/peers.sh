#!/bin/sh
# Prints a folder with other servers in environments of their own and a load generator that is neither theirs nor ours
# (wrk); fetches them once. For bench/serving.py. A peer that cannot be installed is said, and leaves no folder.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/framepace-peers
mkdir -p "$cache"
cd "$cache"
exec 9>lock
flock 9

no() {
    printf '%s\n' "no peers could be set up here: $1" "  what to do: give this machine a package index, and apt" >&2
    exit 1
}

# The peers that want libraries of their own, each in a folder of its name.
apart() {
    name=$1
    shift
    [ ! -e "$name.done" ] || return 0
    python3 -m venv "$name"
    if "$name/bin/pip" --quiet --disable-pip-version-check install "$@" onnxruntime==1.32.0 >&2; then
        touch "$name.done"
    else
        printf '%s\n' "$name cannot be installed here, and is left out" >&2
        rm -rf "$name"
    fi
}

if [ ! -e peers.done ]; then
    python3 -m venv peers
    peers/bin/pip --quiet --disable-pip-version-check install mosec==0.9.8 litserve==0.2.19 fastapi python-multipart 'uvicorn[standard]' \
        onnxruntime==1.32.0 numpy >&2 || no "their packages cannot be installed"
    touch peers.done
fi
apart bentoml bentoml==1.4.40
apart rayserve 'ray[serve]==2.60.0'
apart pytriton nvidia-pytriton==0.7.0
if [ ! -e wrk.done ]; then
    rm -rf wrk && mkdir -p wrk/debs
    (cd wrk/debs && apt-get -qq -o APT::Sandbox::User=root download wrk libluajit-5.1-2 >&2) || no "wrk cannot be fetched"
    for package in wrk/debs/*.deb; do
        dpkg -x "$package" wrk
    done
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$cache/wrk/usr/lib/$(uname -m)-linux-gnu" "$cache/wrk/usr/bin/wrk" >wrk/run
    chmod +x wrk/run
    touch wrk.done
fi
echo "$cache"
