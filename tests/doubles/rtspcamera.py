"""A camera that serves RTSP: `python3 rtspcamera.py [PORT] [USER:PASSWORD]`, with GStreamer's Python.

Prints its port, then 'ok' for each line of standard input that it did:
    play PATH CODEC WIDTH HEIGHT FPS [B-FRAMES]   serve a pattern at /PATH (x264, x265 or jpeg); connected ones end
    hang PATH, go on PATH                         pause and continue what is sent at /PATH; connections stay open
    drop PATH                                     close the connections of /PATH, which is served no more
"""

import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODERS = {
    "x264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} bframes={b} b-adapt=false ! rtph264pay",
    "x265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} ! rtph265pay",
    "jpeg": "jpegenc ! rtpjpegpay",
}
LAUNCH = (
    "( videotestsrc is-live=true pattern=ball "
    "! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 "
    "! identity name=tap ! {encoder} name=pay0 pt=96 )"
)


class Camera:
    """The server, and what is served."""

    def __init__(self, port: str, user: str) -> None:
        Gst.init(None)
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(port)
        self.server.get_thread_pool().set_max_threads(64)  # or one client that waits holds up all
        self.medias: dict[str, Any] = {}
        self.user = user
        if user:
            self._ask_for(user)
        self.server.attach(None)

    def _ask_for(self, user: str) -> None:
        """Let in who knows the password."""
        name, _, password = user.partition(":")
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(name, password), token)
        self.server.set_auth(auth)

    def play(self, path: str, codec: str, width: str, height: str, fps: str, b: str = "0") -> None:
        """Serve a pattern; who was connected has to connect again."""
        self.drop(path)
        factory = GstRtspServer.RTSPMediaFactory()
        encoder = ENCODERS[codec].format(fps=fps, b=b)
        if b != "0":
            encoder = encoder.replace("tune=zerolatency ", "").replace("! rtp", "! video/x-h264,profile=main ! rtp")
        factory.set_launch(LAUNCH.format(width=width, height=height, fps=fps, encoder=encoder))
        factory.set_shared(True)
        if self.user:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("user", "media.factory.access", True)
            permissions.add_permission_for_role("user", "media.factory.construct", True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", lambda _, media: self.medias.update({path: media}))
        self.server.get_mount_points().add_factory("/" + path, factory)

    def hang(self, path: str) -> None:
        """Send nothing more; connections stay open."""
        self.medias[path].get_element().get_by_name("tap").set_property("drop-probability", 1.0)

    def go_on(self, path: str) -> None:
        """Send again."""
        self.medias[path].get_element().get_by_name("tap").set_property("drop-probability", 0.0)

    def drop(self, path: str) -> None:
        """Close the connections."""
        self.server.get_mount_points().remove_factory("/" + path)
        if self.medias.pop(path, None) is not None:
            self.server.client_filter(lambda _, client: GstRtspServer.RTSPFilterResult.REMOVE)


def main() -> None:
    """Serve until standard input ends."""
    arguments = [*sys.argv[1:], "0", ""]
    camera = Camera(arguments[0], arguments[1] if len(sys.argv) > 2 else "")
    print(camera.server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()

    def told(channel: object, condition: object) -> bool:
        line = sys.stdin.readline().split()
        if not line:
            loop.quit()
            return False
        if line[:2] == ["go", "on"]:
            line[:2] = ["go_on"]
        getattr(camera, line[0])(*line[1:])
        print("ok", flush=True)
        return True

    GLib.io_add_watch(GLib.IOChannel.unix_new(0), GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN, told)
    loop.run()


main()
