"""An RTSP server that takes one published H.264 stream: `python3 rtsprecorder.py`, with GStreamer's Python.

Prints its port, and then a line per picture that arrived and was decoded: width and height.
"""

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = "( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! fakesink name=pictures signal-handoffs=true )"


def tell(_sink: object, _buffer: object, pad: object) -> None:
    """Print the size of a picture."""
    caps = pad.get_current_caps().get_structure(0)  # type: ignore[attr-defined]
    print(caps.get_int("width")[1], caps.get_int("height")[1], flush=True)


def main() -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_latency(0)
    factory.set_launch(LAUNCH)
    factory.connect(
        "media-configure",
        lambda _, media: media.get_element().get_by_name("pictures").connect("handoff", tell),
    )
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
