#!/bin/sh
# Prints a folder with a real Triton 2.51, its clients (client) or perf_analyzer (perf), each in an environment of its own;
# fetches them once. Nothing of theirs is copied into the repository, and nothing runs on more than this machine.
#   tools/triton.sh server   tritonserver, python backend, env/ for its models (numpy<2, onnxruntime)
#   tools/triton.sh client   client/ with tritonclient 2.73
#   tools/triton.sh perf     perf/perf_analyzer 2.60, with a C library that is new enough for it
set -eu

what=${1:-server}
cache=${FRAMEPACE_TRITON:-${XDG_CACHE_HOME:-$HOME/.cache}/framepace-triton}
mkdir -p "$cache"
cd "$cache"

no() {
    printf '%s\n' "no Triton could be set up here: $1" "  what to do: give this machine a package index, or set FRAMEPACE_TRITON to a folder that has it" >&2
    exit 1
}

# A Python for which Triton brings a stub, and which is a shared library.
shared_python() {
    for name in python3.11 python3.12 python3.10 python3.13; do
        command -v "$name" >/dev/null || continue
        "$name" -c 'import sysconfig, venv; raise SystemExit(not sysconfig.get_config_var("Py_ENABLE_SHARED"))' 2>/dev/null || continue
        echo "$name"
        return 0
    done
    return 1
}

packages() {
    environment=$1
    shift
    "$python" -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 || no "$* cannot be installed"
}

unpacked() {
    folder=$1
    shift
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest wheels "$@" >&2 || no "$* cannot be downloaded"
    "$python" -m zipfile -e "$(ls wheels/*.whl)" "$folder"
    rm -r wheels
}

server() {
    unpacked pt nvidia-pytriton==0.7.0
    chmod +x pt/pytriton/tritonserver/bin/tritonserver pt/pytriton/tritonserver/python_backend_stubs/*/triton_python_backend_stub
    mkdir -p backends
    cp -r pt/pytriton/tritonserver/backends/python backends/
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    cp "pt/pytriton/tritonserver/python_backend_stubs/$version/triton_python_backend_stub" backends/python/
    "$python" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))' >libpython
    packages env 'numpy<2' onnxruntime av
}

client() {
    packages client 'tritonclient[all]==2.73.0' 'numpy<2.4'
}

# The wheel wants glibc 2.38; on an older system it runs with that of Debian 13, by its own loader.
perf() {
    unpacked perf/wheel --only-binary :all: --platform manylinux_2_38_x86_64 perf-analyzer==2.60.0
    binary=$(find perf/wheel -name perf_analyzer -type f -size +100k | head -1)
    chmod +x "$binary"
    list=$(mktemp -d)
    mkdir -p "$list/partial" "$list/lists/partial" debs
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -v security | head -1)
    [ -n "$mirror" ] || no "perf_analyzer needs a newer C library, which only Debian's packages bring here"
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" >"$list/trixie.sources"
    apt="apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$list -o Dir::State::Lists=$list/lists -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
    $apt update >&2 || no "Debian's packages cannot be listed"
    (cd debs && $apt download libc6 libstdc++6 libgcc-s1 libssl3t64 zlib1g libzstd1 >&2) || no "Debian's packages cannot be fetched"
    for package in debs/*.deb; do
        dpkg -x "$package" perf/root
    done
    rm -r "$list" debs
    libraries=$cache/perf/root/usr/lib/x86_64-linux-gnu
    cat >perf/perf_analyzer <<TEXT
#!/bin/sh
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$cache/$binary" "\$@"
TEXT
    chmod +x perf/perf_analyzer
}

case $what in
    server | client | perf) ;;
    *) echo "tools/triton.sh: server, client or perf, got: $what" >&2; exit 2 ;;
esac
exec 9>"$cache/lock"
flock 9
if [ ! -e "$what.done" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || no "its builds are for Linux on x86_64, this is $(uname -sm)"
    python=$(shared_python) || no "it needs a Python 3.10 to 3.13 that was built with its shared library"
    rm -rf "$what.part"
    "$what"
    touch "$what.done"
fi
echo "$cache"
