"""The governor: sets the device's clock from its load, power and temperature, once per tick."""

from __future__ import annotations

import math

from framepace.simulate.parameters import DeviceModel

# Bits of facts.device.EVENT_REASONS
_IDLE = 0x001
_POWER = 0x004
_THERMAL = 0x020
_BAND_C = 5.0  # under its limit, in which the device begins to hold the temperature down


class Governor:
    """Clock, power and temperature of one device.

    The clock goes to a target with bounded speed: boost under load; under a load that would take less than `load_share`
    of the time at boost, for `load_hold_ms` and longer, the clock at which it takes that share, as Linux's schedutil
    does; idle after `idle_delay_ms` without work. Power is
    idle + dynamic * activity * (clock / boost)^exponent; its average is held under the limit by the clock at which the
    average activity would just fit. Temperature follows power with one time constant.
    """

    def __init__(self, model: DeviceModel) -> None:
        self._model = model
        self.mhz = model.boost_mhz
        self.power_w = model.idle_w
        self.energy_mj = 0.0
        self.reasons = 0
        self.temperature_c = model.ambient_c + model.idle_w * model.heating_c_per_w
        self._clock = float(model.boost_mhz)
        self._load = 1.0
        self._idle_ms = 0.0
        self._light_ms = 0.0
        self._activity = 0.0
        self._load_weight = self._weight(model.load_window_ms)
        self._power_weight = self._weight(model.power_window_ms)
        self._heating_weight = self._weight(model.heating_s * 1000)

    def tick(self, busy: float, sm: float, dram: float) -> None:
        """Advance by one tick; the device was `busy`, its SMs and memory active for these shares of the tick."""
        self._spend(sm, dram)
        self._count_load(busy)
        wanted = self._wanted()
        fits = self._fitting()
        cool = self._cooling()
        self._move(min(wanted, fits, cool), follows_load=wanted <= min(fits, cool))
        self.reasons = self._limits(wanted, fits, cool)

    def _count_load(self, busy: float) -> None:
        """Average the load, as the share of the time that it would take at boost; count how long it has been light."""
        model = self._model
        self._load += (busy * self.mhz / model.boost_mhz - self._load) * self._load_weight
        self._light_ms += model.tick_ms
        if self._load >= model.load_share:
            self._light_ms = 0.0
        self._idle_ms += model.tick_ms
        if busy:
            self._idle_ms = 0.0

    def _move(self, target: float, follows_load: bool) -> None:
        """Let the clock go towards `target`, as far as it can in a tick; slowly where it follows a light load."""
        lowest = self._clock - self._stride(self._model.fall_ms)
        if follows_load and self._model.load_fall_ms:
            lowest = self._evenly_slower()
        highest = self._clock + self._stride(self._model.rise_ms)
        self._clock = min(max(target, lowest), highest)
        self.mhz = self._stepped()

    def _limits(self, wanted: float, fits: float, cool: float) -> int:
        """Why the clock is not higher, as bits of EVENT_REASONS."""
        reasons = 0
        if fits < min(wanted, cool):
            reasons |= _POWER
        if cool < min(wanted, fits):
            reasons |= _THERMAL
        if wanted == self._model.idle_mhz < self._model.boost_mhz:
            reasons |= _IDLE
        return reasons

    def _spend(self, sm: float, dram: float) -> None:
        model = self._model
        part = model.dram_power_share
        activity = (1 - part) * sm + part * dram
        watts = model.idle_w + model.dynamic_w * activity * (self.mhz / model.boost_mhz) ** model.power_exponent
        self._activity += (activity - self._activity) * self._power_weight
        self.power_w += (watts - self.power_w) * self._power_weight
        self.energy_mj += watts * model.tick_ms
        warm = model.ambient_c + model.heating_c_per_w * self.power_w
        self.temperature_c += (warm - self.temperature_c) * self._heating_weight

    def _wanted(self) -> float:
        """The clock that the load asks for."""
        model = self._model
        if model.idle_delay_ms and self._idle_ms >= model.idle_delay_ms:
            return model.idle_mhz
        if self._light_ms > model.load_hold_ms:
            return max(model.base_mhz, model.boost_mhz * self._load / model.load_share)
        return model.boost_mhz

    def _fitting(self) -> float:
        """The clock for the power limit."""
        if not self._model.power_limit_w:
            return self._model.boost_mhz
        return self._within(self._model.power_limit_w)

    def _cooling(self) -> float:
        """The clock for the temperature: at the limit the power that holds it there, and more the further below."""
        model = self._model
        if not model.thermal_limit_c or not model.heating_c_per_w:
            return model.boost_mhz
        holds = (model.thermal_limit_c - model.ambient_c) / model.heating_c_per_w
        return self._within(holds + model.dynamic_w * (model.thermal_limit_c - self.temperature_c) / _BAND_C)

    def _within(self, watts: float) -> float:
        """The highest clock at which the average activity takes no more than `watts`."""
        model = self._model
        available = watts - model.idle_w
        needed = model.dynamic_w * self._activity
        if needed <= available:
            return model.boost_mhz
        root = 1 / max(model.power_exponent, 1e-3)
        return max(float(model.idle_mhz), model.boost_mhz * math.pow(max(available, 0.0) / needed, root))

    def _stepped(self) -> int:
        """The clock as the device sets it: boost, or a multiple of the step."""
        model = self._model
        if self._clock >= model.boost_mhz:
            return model.boost_mhz
        return max(min(model.idle_mhz, model.boost_mhz), int(self._clock // model.step_mhz) * model.step_mhz)

    def _stride(self, ms: float) -> float:
        """The largest change of the clock in a tick when it takes `ms` over all its range."""
        model = self._model
        if not ms:
            return math.inf
        return (model.boost_mhz - model.idle_mhz) * model.tick_ms / ms

    def _evenly_slower(self) -> float:
        """The clock after a tick of a fall in which the time of an inference rises evenly."""
        model = self._model
        range_us = 1 / model.idle_mhz - 1 / model.boost_mhz
        return 1 / (1 / self._clock + range_us * model.tick_ms / model.load_fall_ms)

    def _weight(self, ms: float) -> float:
        """The weight of a new tick in an average with the time constant `ms`."""
        if not ms:
            return 1.0
        return 1 - math.exp(-self._model.tick_ms / ms)
