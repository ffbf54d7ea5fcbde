"""What becomes of outputs: the texts that name sinks, and outputs, metadata and names as networks bring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attack import mutations
from framepace.clock.system import SystemClock
from framepace.facts.postprocess import Post
from framepace.postprocess.families import FAMILIES
from framepace.postprocess.network import Network
from framepace.postprocess.reader import Reader
from framepace.sinks.named import queued_sink

if TYPE_CHECKING:
    from attack.readers import Place

_SINKS = (
    "jsonl:out.jsonl#rotate=1GB,keep=2", "stdout", "parquet:results#rows=10,wait=1s", "http://127.0.0.1:9/a?b=c#batch=7",
    "https://anna:word@host/hook#token=${TOKEN}", "mqtt://anna:word@host:1883/site/{source}#qos=2,retain=yes",
    "video:out.mp4#draw=own,crf=20", "hls:live#preset=fast", "rtsp://host/live#queue=2,drop=newest", "call:os:getcwd",
)  # fmt: skip
_METADATA = {
    "names": "{0: 'person', 1: 'car'}",
    "task": "detect",
    "args": "{'nms': True}",
    "end2end": "True",
    "kpt_shape": "[17, 3]",
    "character": "a\nb\n",
    "head": "Detect",
}
_SHAPES = ((1, 84, 126), (1, 378, 85), (1, 126, 85), (1, 300, 6), (1, 100, 4), (1, 100, 92), (1, 56, 126), (20, 1, 37))
_NAMES = (
    "output0",
    "output1",
    "boxes",
    "scores",
    "labels",
    "logits",
    "pred_boxes",
    "detection_boxes",
    "num_detections",
)


def sinks(place: Place) -> str:
    """The text of a sink, damaged: the sink, which is not opened."""
    damaged = mutations.bytes_of(place.rng.choice(_SINKS).encode(), place.rng)
    return queued_sink(damaged.decode("utf-8", "replace"), SystemClock(), {"TOKEN": "word"}).name


def answers(place: Place) -> str:
    """Outputs of any shapes and numbers, beside damaged metadata or a damaged file of names, by any family."""
    rng = np.random.default_rng(place.rng.randrange(1 << 32))
    outputs = {}
    for name in place.rng.sample(_NAMES, place.rng.randrange(1, 4)):
        outputs[name] = rng.normal(0, 10.0 ** place.rng.randrange(-3, 30), place.rng.choice(_SHAPES)).astype(np.float32)
    metadata = {
        key: mutations.bytes_of(text.encode(), place.rng).decode("utf-8", "replace") for key, text in _METADATA.items()
    }
    names = place.folder / "names.txt"
    names.write_bytes(mutations.bytes_of(b"a\nb\n\xc3\xa9\n", place.rng))
    post = Post(
        read=place.rng.choice(["auto", *(family.name for family in FAMILIES)]),
        names=place.rng.choice([None, str(names)]),
    )
    read = Reader(post, Network("net", (64, 96), metadata=metadata))
    return f"{type(read(outputs, (48, 80))).__name__} {read.note}"
