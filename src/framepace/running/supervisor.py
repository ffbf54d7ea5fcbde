"""Watches over the engine of a run: one that dies or hangs is replaced, while the sources go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from framepace.engine.engine import Engine
from framepace.errors import BackendError, one_line
from framepace.facts.plan import Plan
from framepace.facts.trace import DropCause
from framepace.feeds.feed import OnDrop
from framepace.running.generation import Generation, InFlight, Work
from framepace.running.watchdog import PATIENCE_S, Awake, Restarts, hangs
from framepace.units import NS_PER_S

_ENDING_S = (3.0, 20.0)  # least and most for frames in flight, at the end
_TIMES = 3  # as long as the slowest so far
Load = Callable[[Plan], Engine]


class Supervisor:
    """Keeps one engine at work on the feed of a run. `look` is called a few times per second, by one thread.

    Args:
        load: loads a plan; whatever it raises, it is tried again.
        work: what its engines share.
        on_drop: receives frames that were lost with an engine.
        note: takes a sentence about what happened.
        patience_s: a worker that returns within it never counts as hung.
    """

    def __init__(
        self, load: Load, work: Work, on_drop: OnDrop, note: Callable[[str], None], patience_s: float = PATIENCE_S
    ) -> None:
        self._load = load
        self._work = work
        self._on_drop = on_drop
        self._note = note
        self._patience_s = patience_s
        self._state = work.taken.state
        self._now = self._state.clock.now
        self._restarts = Restarts()
        self._awake = Awake()
        self._ended: deque[tuple[Generation, BaseException | None]] = deque()
        self._at_work: list[Generation] = []
        self._current: Generation | None = None
        self.plan: Plan | None = None
        """Of the engine at work, or of the one that is started next."""
        self._start_at: int | None = None  # when an engine is started again (ns)
        self.left_behind = 0
        """How many threads hang."""

    @property
    def current(self) -> Generation | None:
        """The engine at work; None while there is none."""
        return self._current

    @property
    def flying(self) -> InFlight | None:
        """What is with the workers now; None while no engine is at work."""
        if self._current is None:
            return None
        return self._current.flying

    def begin(self, engine: Engine) -> None:
        """Put a loaded engine to work."""
        self.plan = engine.plan
        self._current = self._started(engine)
        self._start_at = None  # of one that ended before

    def replace(self, engine: Engine) -> None:
        """Put another engine to work; the one before ends after its frames in flight."""
        before = self._current
        self.begin(engine)
        if before is not None:
            before.retire()

    def try_out(self, engine: Engine, share: float) -> Generation:
        """Put another engine to work beside the current one, on a share of the frames."""
        return self._started(engine, share)

    def promote(self, generation: Generation) -> None:
        """What was tried out takes the place of the current engine."""
        before = self._current
        self.plan = generation.engine.plan
        self._current = generation
        self._start_at = None
        generation.take_all()
        if before is not None:
            before.retire()

    def roll_back(self, generation: Generation) -> None:
        """What was tried out ends after its frames in flight."""
        generation.retire()

    def look(self) -> bool:
        """See to what has ended or hangs; false when the work is over.

        Raises what ended the engine where nothing was ever inferred, or where it was started again too often.
        """
        while self._ended:
            generation, error = self._ended.popleft()
            if generation not in self._at_work:  # it was given up, and has come back after all
                self.left_behind -= 1
                continue
            self._at_work.remove(generation)
            if generation is self._current and not self._goes_on_after(generation, error):
                return False
            self._drop_lost(generation, DropCause.BACKEND)
        if self._start_at is not None and self._now() >= self._start_at:
            self._start_again()
        self._look_for_hangs(self._awake.ns(self._now()))
        return True

    def _look_for_hangs(self, awake: int) -> None:
        """Replace what has been at one frame for too long, of the time that this process was `awake` (ns)."""
        for generation in list(self._at_work):
            flying = generation.flying
            if hangs(min(awake, flying.longest(self._now())), flying.slowest, self._patience_s):
                self._replace_hung(generation)

    def join(self) -> None:
        """Wait, at the end of the run, for the frames in flight; those of workers that hang are dropped."""
        for generation in list(self._at_work):
            generation.retire()
            least, most = _ENDING_S
            if not generation.join(min(most, max(least, _TIMES * generation.flying.slowest / NS_PER_S))):
                self._give_up(generation)

    def _started(self, engine: Engine, share: float | None = None) -> Generation:
        generation = Generation(engine, self._work, share)
        self._at_work.append(generation)
        generation.start(lambda ended, error: self._ended.append((ended, error)))
        return generation

    def _drop_lost(self, generation: Generation, cause: int) -> None:
        frames = generation.abandon()
        for frame in frames:
            self._on_drop(frame, cause)
        if frames and self._state.sources is not None:
            self._state.sources.end(frames)  # or those behind them would wait for ever
        if self._state.batches is not None:
            for frame in frames:  # whichever began a batch
                self._state.batches.end([frame], self._now(), failed=True)

    def _goes_on_after(self, generation: Generation, error: BaseException | None) -> bool:
        self._current = None
        for failure in generation.errors:
            self._note(f"an inference failed: {one_line(failure)}")
        if error is None and generation.state.stopped is None:
            return False
        if error is None:
            error = _why_it_stopped(generation)
        self._drop_lost(generation, DropCause.BACKEND)
        if self._state.stopped is not None:
            return False
        if not generation.state.succeeded and self._restarts.count == 0:
            raise error
        self._start_later(f"the engine ended: {one_line(error)}", error)
        return True

    def _replace_hung(self, generation: Generation) -> None:
        seconds = generation.flying.longest(self._now()) / NS_PER_S
        self._give_up(generation)
        if generation is not self._current:
            return
        self._current = None
        why = f"a worker did not return for {seconds:.0f} s"
        self._start_later(why, BackendError(why, fix="look at the model and its library"))

    def _give_up(self, generation: Generation) -> None:
        self.left_behind += 1
        self._at_work.remove(generation)
        self._drop_lost(generation, DropCause.HUNG)

    def _start_later(self, why: str, error: BaseException) -> None:
        pause_s = self._restarts.after(self._now())
        if pause_s is None:
            raise error
        self._note(f"{why}: started again ({self._restarts.count})")
        self._start_at = self._now() + round(pause_s * NS_PER_S)

    def _start_again(self) -> None:
        self._start_at = None
        assert self.plan is not None
        try:
            self.begin(self._load(self.plan))
        except Exception as error:  # a library may raise anything
            self._start_later(f"the plan could not be loaded again: {one_line(error)}", error)


def _why_it_stopped(generation: Generation) -> BaseException:
    """The error of an engine that stopped by itself."""
    if generation.errors:
        return generation.errors[0]
    return BackendError("the engine stopped", got=generation.state.stopped, fix="run the plan with `framepace bench`")
