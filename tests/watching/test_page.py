"""The dashboard's page in a real browser: live, with pictures on demand, on every screen, and nothing from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replaced
from types import SimpleNamespace as Namespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.facts.answers import Detections
from framepace.facts.running import Result
from tests.doubles.cameras import ScriptedRun, result
from tests.doubles.dashboards import Shown, served
from tests.doubles.devtools import Page

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror=alert(1)>"&amp;'
SENTENCE = "document.getElementById('sentence').textContent"
ROWS = "[...document.querySelectorAll('#sources tbody')].filter(row => !row.hidden)"
NAMES = f"{ROWS}.map(row => row.querySelector('button').textContent)"
SHOWN = "[...document.querySelectorAll('.gallery img:not([hidden])')].filter(img => img.naturalWidth).length"
LOOKS = "Number(document.documentElement.dataset.drawn)"
UNNAMED = """[...document.querySelectorAll('button, input, select, img, section, svg[role]')]
.filter(e => !(e.textContent.trim() || e.labels?.length || e.alt || e.ariaLabel || e.hidden))
.filter(e => !e.getAttribute('aria-labelledby')).length"""
SMALL = """[...document.querySelectorAll('button, input:not([hidden]), select')].filter(e => e.offsetParent)
.map(e => (e.closest('label') || e).getBoundingClientRect()).filter(r => r.height < 24 || r.width < 24).length"""


@contextmanager
def opened(tab: Page, run: Shown, token: str | None = None) -> Iterator[str]:
    """The page of a run, after its first look."""
    with served(run, token) as url:
        tab.open(url)
        yield url


def next_look(tab: Page) -> None:
    """Wait until the page has looked again, at something that was there when this was called."""
    before = int(tab.evaluate(LOOKS))
    tab.wait(f"{LOOKS} >= {before + 2}")


def complaints(tab: Page) -> list[Any]:
    """What the browser complained about."""
    return [tab.named(name) for name in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")]


@pytest.mark.parametrize("cameras", [1, 3, 100])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_every_camera_has_a_row_and_nothing_sticks_out(tab: Page, cameras: int, width: int, height: int) -> None:
    """From one to a hundred, on a desk and on a phone; nothing is asked of another server or complained about."""
    run = ScriptedRun(cameras)
    tab.screen(width, height, dark=width < 600)
    with opened(tab, run) as url:
        assert len(tab.evaluate(NAMES)) == cameras
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(UNNAMED) == 0
        assert tab.evaluate(SMALL) == 0
        asked = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
        assert [address for address in asked if not address.startswith((url, "data:"))] == []
    assert complaints(tab) == [[], [], []]


def test_it_is_live(tab: Page) -> None:
    """A camera that is lost, its reason, a measure and a failing sink appear by themselves, and go again."""
    run = ScriptedRun(3)
    with opened(tab, run):
        assert tab.evaluate(SENTENCE) == "All 3 sources are live"
        run.step(3)
        tab.wait(f"{SENTENCE} === '2 of 3 sources are live, 1 lost'")
        text = tab.evaluate("document.body.innerText")
        for part in ("connection refused", "Degraded: every second picture", "the disk is full"):
            assert part in text
        assert tab.evaluate("document.getElementById('announcer').textContent") == "2 of 3 sources are live, 1 lost"
        run.step(3)
        tab.wait(f"{SENTENCE} === 'All 3 sources are live'")
        assert tab.evaluate("document.getElementById('measures').hidden")


def test_pictures_come_when_they_are_asked_for(tab: Page) -> None:
    """One by its name, with a box that lies where it should; all by a button; none after it."""
    run = ScriptedRun(3)
    tab.screen(1280, 800)
    with opened(tab, run):
        next_look(tab)
        assert run.asked == []
        tab.evaluate(f"{ROWS}[0].querySelector('button').click()")
        tab.wait(f"{SHOWN} === 1")
        assert set(run.asked) == {"gate"}
        tab.wait("document.querySelector('.gallery text')?.textContent === 'person 0.92 #7'")
        share = """(() => { const box = document.querySelector('.gallery rect').getBoundingClientRect();
        const all = document.querySelector('.gallery img').getBoundingClientRect();
        return [(box.x - all.x) / all.width, box.width / all.width] })()"""
        assert tab.evaluate(share) == pytest.approx([0.1, 0.3], abs=0.02)
        tab.evaluate("document.getElementById('show').click()")
        assert tab.evaluate("document.querySelectorAll('.gallery figure').length") == 0
        tab.evaluate("document.getElementById('show').click()")
        tab.wait(f"{SHOWN} === 3")
    assert complaints(tab)[0] == []


def test_labels_of_boxes_do_not_cover_each_other(tab: Page) -> None:
    """Of twenty boxes nearly in one place: all are drawn, and of their labels those that can be read."""
    run = ScriptedRun(1)

    def newest(name: str) -> Result:
        boxes = np.array([[40.0 + number / 4, 30, 60 + number / 4, 40] for number in range(20)], np.float32)
        many = Detections(boxes, np.full(20, 0.9, np.float32), np.zeros(20, int), ("person",))
        return replaced(result(name), answers={"detector": many})

    with opened(tab, Namespace(status=run.status, newest=newest)):
        tab.evaluate(f"{ROWS}[0].querySelector('button').click()")
        tab.wait("document.querySelectorAll('.frame rect').length === 40")
        places = tab.evaluate(
            "[...document.querySelectorAll('.frame text')].map(e => e.getBBox())"
            ".map(p => [p.x, p.y, p.width, p.height])"
        )
    assert 1 <= len(places) < 20
    for number, (x, y, width, height) in enumerate(places):
        for left, top, wide, high in places[:number]:
            assert x >= left + wide or left >= x + width or y >= top + high or top >= y + height


def test_a_lost_camera_has_its_reason_in_place_of_a_picture(tab: Page) -> None:
    """Not a frozen picture that looks as if it were live."""
    run = ScriptedRun(3)
    with opened(tab, run):
        tab.evaluate(f"{ROWS}[1].querySelector('button').click()")
        tab.wait(f"{SHOWN} === 1")
        run.step(2)
        tab.wait("document.querySelector('.gallery .why').textContent.startsWith('connection refused')")
        assert tab.evaluate(SHOWN) == 0


def test_a_live_camera_without_a_picture_has_none_yet(tab: Page) -> None:
    """What is told of it, here its losses, is no reason why there is none."""
    run = ScriptedRun(3)
    run.step(2)
    with opened(tab, Namespace(status=run.status, newest=lambda name: None)):
        assert "buffer full" in tab.evaluate(f"{ROWS}[2].textContent")
        tab.evaluate(f"{ROWS}[2].querySelector('button').click()")
        tab.wait("document.querySelector('.gallery .why').textContent === 'no picture yet'")


def test_all_counts_of_a_sink_are_in_sight_on_a_phone(tab: Page) -> None:
    """However long its name is: it is broken over lines, and nothing has to be pushed aside."""
    run = ScriptedRun(1)
    sink = replace(run.status().sinks[0], name="mqtts://broker.example.com/cameras/of/the/whole/building/{source}")
    tab.screen(390, 844)
    with opened(tab, Namespace(status=lambda: replace(run.status(), sinks=(sink,)), newest=run.newest)):
        assert tab.evaluate("(t => t.scrollWidth <= t.clientWidth)(document.querySelector('#sinks .table'))")


def test_many_cameras_are_found_sorted_and_filtered(tab: Page) -> None:
    """The worst come first; a name is found; only trouble is one row; the search that finds none says so."""
    run = ScriptedRun(64)
    run.step(3)
    with opened(tab, run):
        assert tab.evaluate(NAMES)[:2] == ["yard", "lobby"]
        tab.evaluate("document.getElementById('trouble').click()")
        assert tab.evaluate(NAMES) == ["yard"]
        tab.evaluate("document.getElementById('trouble').click()")
        choose(tab, "find", "input", "hall 6")
        assert sorted(tab.evaluate(NAMES)) == ["hall 6", "hall 60", "hall 61", "hall 62", "hall 63", "hall 64"]
        choose(tab, "find", "input", "nobody")
        assert not tab.evaluate("document.getElementById('none').hidden")
        choose(tab, "find", "input", "")
        choose(tab, "order", "change", "p99")
        assert tab.evaluate(NAMES)[0] == "hall 64"


def choose(tab: Page, element: str, event: str, value: str) -> None:
    """Enter a value."""
    place = f"document.getElementById('{element}')"
    tab.evaluate(f"{place}.value = '{value}'; {place}.dispatchEvent(new Event('{event}'))")


def test_what_has_the_focus_keeps_it(tab: Page) -> None:
    """Looking again does not take a row away from under somebody who reaches it by keyboard."""
    with opened(tab, ScriptedRun(3)):
        tab.evaluate(f"{ROWS}[2].querySelector('button').focus()")
        next_look(tab)
        assert tab.evaluate("document.activeElement.textContent") == "lobby"


def test_sources_come_and_go(tab: Page) -> None:
    """A row, and a picture, for each that is there now."""
    run = ScriptedRun(3)
    tab.screen(1280, 800)
    with opened(tab, run):
        tab.evaluate("document.getElementById('show').click()")
        tab.wait(f"{SHOWN} === 3")
        del run.names[1:]
        tab.wait(f"{ROWS}.length === 1 && document.querySelectorAll('.gallery figure').length === 1")
        run.names.append("yard")
        tab.wait(f"{ROWS}.length === 2")


def test_names_from_outside_stay_text(tab: Page) -> None:
    """A source, a class and a note full of markup are shown as they are."""
    run = ScriptedRun(1)
    run.names[0] = HOSTILE
    with opened(tab, run):
        assert tab.evaluate(NAMES) == [HOSTILE]
        tab.evaluate("document.getElementById('show').click()")
        tab.wait(f"{SHOWN} === 1")
        assert tab.evaluate("document.querySelector('.gallery b').textContent") == HOSTILE
        assert tab.evaluate("document.images.length") == 1
    assert complaints(tab)[0] == []


def test_a_token_is_asked_for_once(tab: Page) -> None:
    """A wrong one is told; the right one opens the page, and never stands in an address."""
    with opened(tab, ScriptedRun(1), token="sesame") as url:
        assert tab.evaluate("document.getElementById('content').hidden")
        enter(tab, "wrong")
        tab.wait("!document.getElementById('refused').hidden")
        enter(tab, "sesame")
        tab.wait("!document.getElementById('content').hidden")
        assert tab.evaluate(SENTENCE) == "The source is live"
        tab.open(url)
        tab.wait(f"{SENTENCE} === 'The source is live'")
        asked = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
        assert [address for address in asked if "sesame" in address] == []


def enter(tab: Page, token: str) -> None:
    """Fill in the form."""
    tab.evaluate(f"document.getElementById('token').value = '{token}'")
    tab.evaluate("document.querySelector('#access button').click()")


def test_a_run_that_ends_is_told(tab: Page) -> None:
    """The page does not go on showing the last numbers as if they were live."""
    with opened(tab, ScriptedRun(1)):
        pass
    tab.wait("document.body.dataset.silent === 'yes'")
    assert "may have ended" in tab.evaluate("document.getElementById('silence').textContent")
