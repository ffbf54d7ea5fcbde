"""Secrets of addresses: opened whole, shown and stored without."""

from __future__ import annotations

import pickle
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import BackendError, SourceError, UsageError
from framepace.facts.address import Address, expanded, redacted, shown, without_secrets
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Closed, Input, Workload
from framepace.store.identity import differences
from framepace.units import parse_duration

CANARY = "CaNaRy77"
ADDRESSES = [
    f"rtsp://admin:{CANARY}@camera/1",
    f"rtsp://{CANARY}@camera/1",
    f"rtsp://admin:a@{CANARY}@camera/1",
    f"rtsp://admin:{CANARY}/{CANARY}@camera/1",
    f"rtsp://admin:12/{CANARY}@camera/1",
    f"rtsp://admin:a?{CANARY}#b@camera/1",
    f"rtsp://admin:a b{CANARY}@camera/1",
    f"rtsp://camera/1?user={CANARY}&password={CANARY}&channel=2",
    f"rtsp://camera/1?channel=2&password=a&b{CANARY}",
    f"rtsp://camera/1?password=a#{CANARY}",
    f"http://camera/video?access_token={CANARY}",
    f"http://camera/video?t={CANARY}",
    f"http://camera/video#sig={CANARY}",
    f"http://camera/v.cgi?loginuse={CANARY}&loginpas={CANARY}",
    f"rtsp://camera/user={CANARY}_password={CANARY}_channel=1_stream=0.sdp?real_stream",
    f"rtsp://camera/user={CANARY}&password={CANARY}&channel=1",
    f"srt://camera:9000?passphrase={CANARY}&streamid={CANARY}",
    f"RTSP://ADMIN:{CANARY}@CAMERA/1",
    f"admin:{CANARY}@camera/1",
    f"rtsp:/admin:{CANARY}@camera/1",
    f"rtsp://admin:{CANARY}@[::1]:554/1",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_secret_in_what_is_shown(address: str) -> None:
    """As an address, within a sentence, in an error, a repr, and in facts; the address itself is kept for opening."""
    held = Address(address)
    assert held.whole == address
    texts = [shown(address), redacted(f"opening {address}: no answer"), redacted(repr([address])), f"{held} {held!r}"]
    for error in (SourceError("no answer", got=address), BackendError(f"{address} fails", fix=f"try {address}")):
        texts += [str(error), repr(error), str(error.got), str(pickle.loads(pickle.dumps(error.args)))]
    facts = Workload(load=Closed(), input=Input(videos=(address,)))
    texts.append(repr(without_secrets(facts)))
    texts.append(msgspec.json.encode(without_secrets({"a": [address]})).decode())
    assert not [text for text in texts if CANARY in text]
    assert "***" in shown(address)
    assert pickle.loads(pickle.dumps(held)).whole == address


@pytest.mark.parametrize(
    "text",
    [
        "udp://@239.0.0.1:1234", "rtsp://camera:554/cam/realmonitor?channel=1&subtype=0", "builtin:detector@640x384",
        "rtsp://${CAMERA_USER}:${CAMERA_PASSWORD}@camera/1?token=${TOKEN}", "http://localhost:8080 for a@b",
        "rtsp://me:${PW}@camera/1", "a=1 b=2: see https://onnx.ai/docs", "module:function", "models/net@v2.onnx",
        "threads=1 spinning=off", "",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    """Multicast groups, channels, sizes of networks, references to environment variables and plain text."""
    assert redacted(text) == text
    assert " for " in text or without_secrets((text,)) == (text,)


@pytest.mark.parametrize(
    "text",
    ["--shape token_type_ids=1x16 --shape tokens=1x77", "--input token_type_ids=1,", "--input prompt_tokens=FILE.npy"],
)
def test_inputs_of_networks_of_text_are_no_secrets(text: str) -> None:
    """Their names sound like it, but sizes and numbers of tokens are what an advice consists of."""
    assert redacted(text) == text


@pytest.mark.parametrize("name", ["token", "access_token", "hf-token", "--token", "TOKEN"])
def test_a_token_is_a_secret_even_when_it_is_a_number(name: str) -> None:
    """As is one of tokens that is neither a size nor a short number."""
    assert redacted(f"{name}=12345") == f"{name}=***"
    assert redacted(f"tokens={CANARY}") == "tokens=***"


def test_facts_without_secrets_are_themselves() -> None:
    """Nothing is copied where there is nothing to hide."""
    plan = Plan(models=(ModelPlan(name="m", model="m.onnx"),))
    assert without_secrets(plan) is plan


@given(st.text(st.characters(exclude_categories=["Z", "C"]), max_size=20), st.sampled_from(["rtsp", "http", "rtmps"]))
@settings(max_examples=300, deadline=None)
def test_no_password_is_shown_whatever_is_in_it(password: str, scheme: str) -> None:
    """Any letters but spaces, in front of the host."""
    address = f"{scheme}://me:{CANARY}{password}{CANARY}@camera/1"
    for text in (shown(address), redacted(f"before {address} behind"), redacted(f"'{address}', a")):
        assert CANARY not in text
        assert "camera/1" in text


@given(st.text(st.sampled_from("a:/@?&=#.*$ \n_1{}"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_hiding_twice_is_hiding_once(text: str) -> None:
    """Whatever the text."""
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("piece", ["a://", "x:", "a@", "user=", "?a=", "a:b@", "a://u:", "token", "_a", "?token=_a"])
def test_hiding_takes_time_in_proportion(piece: str) -> None:
    """A hundred thousand letters of what the patterns look for take under two seconds."""
    began = time.process_time()
    redacted("a://" + piece * (100_000 // len(piece)) + "@=")
    assert time.process_time() - began < 2


def test_environment_variables_are_put_in_when_it_is_opened() -> None:
    """So that neither a plan nor a command holds the password; one that is not set is named."""
    address = "rtsp://${CAM_USER}:${CAM_PW}@camera/1"
    assert expanded(address, {"CAM_USER": "me", "CAM_PW": "x"}) == "rtsp://me:x@camera/1"
    with pytest.raises(UsageError, match="CAM_PW"):
        expanded(address, {"CAM_USER": "me"})
    assert expanded("video.mp4", {}) == "video.mp4"


def test_an_address_from_a_trace_says_how_to_give_it_again() -> None:
    """What was hidden cannot be opened."""
    with pytest.raises(UsageError, match="--video"):
        expanded(shown("rtsp://me:x@camera/1"), {})


@pytest.mark.parametrize("letters", range(10, 90, 7))
def test_what_is_cut_is_hidden_first(letters: int) -> None:
    """Half an address has no '@' any more: nobody could know that it holds a password."""
    address = f"rtsp://{'u' * letters}:{CANARY}@host/stream"
    [difference] = differences({"models": address}, {})
    assert CANARY[:4] not in difference
    with pytest.raises(UsageError) as refused:
        parse_duration(address)
    assert CANARY[:4] not in str(refused.value)


@pytest.mark.parametrize("text", ["password=1920x1080", "api_key=12x34", "token_secret=1x2"])
def test_a_password_that_looks_like_sizes_is_hidden(text: str) -> None:
    """Only what is called a token may be sizes: an input of a network of text."""
    assert redacted(text).endswith("=***")
    assert redacted("token_type_ids=1x16") == "token_type_ids=1x16"
