#!/bin/sh
# Prints the path of a server that tests talk to, and installs Debian's packages where they are missing and that needs no
# password: `services.sh mosquitto` (an MQTT broker), `services.sh rtsp` (a Python with GStreamer's RTSP server),
# `services.sh rtmp` (a folder with sbin/nginx and its RTMP module, which is unpacked, not installed).
set -eu

find_mosquitto() {
    for name in ${FRAMEPACE_MOSQUITTO:+"$FRAMEPACE_MOSQUITTO"} mosquitto /usr/sbin/mosquitto; do
        command -v "$name" && return 0
    done
    return 1
}

find_rtsp() {
    wanted="import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    for name in ${FRAMEPACE_GSTREAMER_PYTHON:+"$FRAMEPACE_GSTREAMER_PYTHON"} /usr/bin/python3; do
        "$name" -c "$wanted" 2>/dev/null && echo "$name" && return 0
    done
    return 1
}

unpacked=${XDG_CACHE_HOME:-$HOME/.cache}/framepace-rtmp

find_rtmp() {
    for root in "" "$unpacked"; do
        [ -x "$root/usr/sbin/nginx" ] && [ -e "$root/usr/lib/nginx/modules/ngx_rtmp_module.so" ] && echo "$root/usr" && return 0
    done
    return 1
}

unpack() {
    mkdir -p "$unpacked/debs"
    # shellcheck disable=SC2046 # several words
    (cd "$unpacked/debs" && apt-get -qq -o APT::Sandbox::User=root download $(packages rtmp) >&2) || return 0
    for package in "$unpacked"/debs/*.deb; do
        dpkg -x "$package" "$unpacked"
    done
}

packages() {
    case "$1" in
        mosquitto) echo mosquitto ;;
        rtmp) echo nginx libnginx-mod-rtmp ;;
        rtsp) echo gir1.2-gst-rtsp-server-1.0 python3-gst-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
            gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav ;;
    esac
}

case "${1:-}" in
    mosquitto | rtsp | rtmp) ;;
    *)
        echo "usage: services.sh mosquitto|rtsp|rtmp" >&2
        exit 2
        ;;
esac

"find_$1" && exit 0
if [ "$1" = rtmp ] && command -v apt-get >/dev/null; then
    unpack
    find_rtmp && exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    $as_root true 2>/dev/null || as_root=none
fi
if [ "$as_root" != none ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2046 # several words
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends $(packages "$1"); } >&2 || true
    "find_$1" && exit 0
fi
cat >&2 <<TEXT
no server '$1' was found, and none could be installed here
  what to do: install it (Debian, Ubuntu: apt-get install $(packages "$1"))
TEXT
exit 1
