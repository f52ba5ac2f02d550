"""The long run: `python -m tests.faults.soak --minutes N --seed S` injects faults into a platform under load.

The rule that must not break: it ends with 0 only when no call was lost, every fault kept its invariant, and nothing of
the platform was left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from stoker_runtime.clock import SystemClock
from tests.faults.functions import SETTINGS, deploy_all
from tests.faults.injector import drawn
from tests.faults.load import Load
from tests.support.processes import become_subreaper, children_that_stay
from tests.support.running_platform import RunningPlatform

_FAULTS_BETWEEN_KILLS = 40


def main() -> int:
    """Run for the time asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--callers", type=int, default=4)
    given = parser.parse_args()
    become_subreaper()
    with tempfile.TemporaryDirectory() as folder:
        platform = RunningPlatform(Path(folder, "data"), SETTINGS)
        platform.start()
        try:
            done = _soak(platform, given.minutes * 60, given.seed, given.callers)
        finally:
            platform.stop()
        _say(f"faults injected: {dict(sorted(done.items()))}")
        faults = platform.faults()
        _say(f"faults in the platform's log: {len(faults)}", *faults[:5])
    left = children_that_stay(limit_s=10.0)
    _say(f"processes left: {left}")
    return 1 if faults or left else 0


def _soak(platform: RunningPlatform, duration_s: float, seed: int, callers: int) -> Counter[str]:
    clock = SystemClock()
    end_s = clock.monotonic_s() + duration_s
    done: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    faults = drawn(seed)
    deploy_all(platform)
    while clock.monotonic_s() < end_s:
        with Load(platform, callers) as load:
            for name, fault, chance in faults:
                _say(f"{end_s - clock.monotonic_s():7.0f} s left  {name}")
                fault(platform, chance)
                done[name] += 1
                if clock.monotonic_s() >= end_s or done.total() % _FAULTS_BETWEEN_KILLS == 0:
                    break
        load.check()
        answered += load.answered
        platform.kill()
        platform.start()
        done["kill_platform"] += 1
    _say(f"calls answered: {dict(answered)}")
    return done


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
