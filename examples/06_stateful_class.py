"""A class with state: what `@stoker.enter` makes lives as long as the replica.

State is a replica's own. `max_replicas=1` makes it one for all callers, and `exit` is told before the replica goes:
the place to save what must outlive it.

    stoker deploy examples/06_stateful_class.py
    stoker call gauge pressure_bar=9.5
    stoker call gauge.summary
"""

from __future__ import annotations

import stoker


@stoker.function(name="gauge", scaling=stoker.Scaling(max_replicas=1, keep_alive_s=60))
class Gauge:
    """A running mean and deviation (Welford), without keeping the readings."""

    @stoker.enter
    def start(self) -> None:
        """Begin with no reading."""
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    @stoker.method(default=True)
    def observe(self, pressure_bar: float) -> int:
        """Take one reading; answers how many there are."""
        self.count += 1
        step = pressure_bar - self.mean
        self.mean += step / self.count
        self.squares += step * (pressure_bar - self.mean)
        return self.count

    @stoker.method
    def summary(self) -> dict[str, float]:
        """What the readings so far say."""
        deviation = (self.squares / self.count) ** 0.5 if self.count else 0.0
        return {"count": self.count, "mean_bar": self.mean, "deviation_bar": deviation}

    @stoker.exit
    def stop(self) -> None:
        """Last words; they stand in `stoker logs gauge`."""
        print(f"gauge read {self.count} times, mean {self.mean:.2f} bar")
