#!/bin/sh
# Prints the path of a server that tests talk to, and installs Debian's packages where they are missing and that needs no
# password: `services.sh mosquitto` (an MQTT broker), `services.sh rtsp` (a Python with GStreamer's RTSP server).
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

packages() {
    case "$1" in
        mosquitto) echo mosquitto ;;
        rtsp) echo gir1.2-gst-rtsp-server-1.0 python3-gst-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
            gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav ;;
    esac
}

case "${1:-}" in
    mosquitto | rtsp) ;;
    *)
        echo "usage: services.sh mosquitto|rtsp" >&2
        exit 2
        ;;
esac

"find_$1" && exit 0

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
