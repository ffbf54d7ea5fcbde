"""The governor: what clock the device runs at, from its load, its power and its temperature; once a tick."""

from __future__ import annotations

import math

from framepace.simulate.parameters import DeviceModel

_IDLE, _POWER, _THERMAL = 0x001, 0x004, 0x020  # bits of facts.device.EVENT_REASONS
_BAND_C = 5.0  # under its limit, in which the device begins to hold the temperature down


class Governor:
    """Clock, power and temperature of one device.

    The clock goes to a target with bounded speed: boost under load; in proportion to the load (averaged) under
    `load_share`, as Linux's schedutil does; idle after `idle_delay_ms` without work. Power is
    idle + dynamic * activity * (clock / boost)^exponent; its average is held under the limit by the clock at which the
    average activity would just fit. Temperature follows power with one time constant.
    """

    def __init__(self, model: DeviceModel) -> None:
        self._model = model
        self.mhz, self._clock = model.boost_mhz, float(model.boost_mhz)
        self._load, self._idle_ms, self._activity = 1.0, 0.0, 0.0
        self.power_w, self.energy_mj, self.reasons = model.idle_w, 0.0, 0
        self.temperature_c = model.ambient_c + model.idle_w * model.heating_c_per_w
        self._root = 1 / max(model.power_exponent, 1e-3)
        self._fall, self._rise = (self._stride(ms) for ms in (model.fall_ms, model.rise_ms))
        self._loads, self._powers = (self._weight(ms) for ms in (model.load_window_ms, model.power_window_ms))
        self._heats = self._weight(model.heating_s * 1000)

    def tick(self, busy: float, sm: float, dram: float) -> None:
        """Go on by one tick in which the device was `busy`, its SMs and memory active for these shares of the time."""
        model = self._model
        self._spend(sm, dram)
        self._load += (busy - self._load) * self._loads
        self._idle_ms = 0.0 if busy else self._idle_ms + model.tick_ms
        wanted = self._wanted()
        fits, cool = self._fitting(), self._cooling()
        target = min(wanted, fits, cool)
        self._clock = min(max(target, self._clock - self._fall), self._clock + self._rise)
        self.mhz = self._stepped()
        limits = (_POWER if fits < min(wanted, cool) else 0) | (_THERMAL if cool < min(wanted, fits) else 0)
        self.reasons = limits | (_IDLE if wanted == model.idle_mhz < model.boost_mhz else 0)

    def _spend(self, sm: float, dram: float) -> None:
        model = self._model
        part = model.dram_power_share
        activity = (1 - part) * sm + part * dram
        watts = model.idle_w + model.dynamic_w * activity * (self.mhz / model.boost_mhz) ** model.power_exponent
        self._activity += (activity - self._activity) * self._powers
        self.power_w += (watts - self.power_w) * self._powers
        self.energy_mj += watts * model.tick_ms
        warm = model.ambient_c + model.heating_c_per_w * self.power_w
        self.temperature_c += (warm - self.temperature_c) * self._heats

    def _wanted(self) -> float:
        """The clock that the load asks for."""
        model = self._model
        if model.idle_delay_ms and self._idle_ms >= model.idle_delay_ms:
            return model.idle_mhz
        if model.load_share and self._load < model.load_share:
            return max(model.base_mhz, model.boost_mhz * self._load / model.load_share)
        return model.boost_mhz

    def _fitting(self) -> float:
        """The clock for the power limit."""
        model = self._model
        return self._within(model.power_limit_w) if model.power_limit_w else model.boost_mhz

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
        room, wish = watts - model.idle_w, model.dynamic_w * self._activity
        if wish <= room:
            return model.boost_mhz
        return max(float(model.idle_mhz), model.boost_mhz * math.pow(max(room, 0.0) / wish, self._root))

    def _stepped(self) -> int:
        """The clock as the device sets it: boost, or a multiple of the step."""
        model = self._model
        if self._clock >= model.boost_mhz:
            return model.boost_mhz
        return max(min(model.idle_mhz, model.boost_mhz), int(self._clock // model.step_mhz) * model.step_mhz)

    def _stride(self, ms: float) -> float:
        """The largest change of the clock in a tick when it takes `ms` over all its range."""
        model = self._model
        return (model.boost_mhz - model.idle_mhz) * model.tick_ms / ms if ms else math.inf

    def _weight(self, ms: float) -> float:
        """The weight of a new tick in an average with the time constant `ms`."""
        return 1 - math.exp(-self._model.tick_ms / ms) if ms else 1.0
