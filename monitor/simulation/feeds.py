"""When messages reach the monitor: soon, late, out of order, or only after a silent feed is back."""

from __future__ import annotations

from typing import Final

from monitor.simulation.chance import WIDE, tickets
from monitor.simulation.clock import HOUR, MINUTE
from monitor.simulation.hospital import Hospital
from monitor.simulation.journey import Seconds

_SILENT: Final = 3 * HOUR
"""How long a feed is silent, at most; in a short log a twelfth of it."""
_LATE: Final = 0
_QUEUE: Final = 40
"""How much faster than it came the queue of a feed that is back is sent."""


class Feeds:
    """The feeds of one hospital. The administrative system and the electronic record are silent once each."""

    def __init__(self, hospital: Hospital) -> None:
        clock = hospital.clock
        length = clock.end - clock.start
        lasting = min(_SILENT, length // 12)
        self._chance = hospital.chance
        late = round(1000 * hospital.options.disorder)
        self._lags = tickets({_LATE: late, **dict.fromkeys(range(1, 11), (1000 - late) // 10)})
        self._silent = {
            source: (clock.start + since, clock.start + since + lasting)
            for source, since in ((hospital.pas, length * 9 // 20), (hospital.epr, length * 27 // 40))
        }

    def deliver(self, source: str, recorded_at: Seconds) -> Seconds:
        """When a message that was recorded at an instant reaches the monitor."""
        lag = self._chance.one_of(self._lags)
        if lag == _LATE:
            lag = self._chance.about(12 * MINUTE, WIDE)
        sent_at = recorded_at + lag
        silent = self._silent.get(source)
        if silent is not None and silent[0] <= sent_at < silent[1]:
            return silent[1] + (sent_at - silent[0]) // _QUEUE
        return sent_at
