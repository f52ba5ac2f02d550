"""Every benchmark in turn: `python -m benchmarks [--short] [--peers] [NAME …]`.

A benchmark is a module of this folder with a `main()` and a docstring that says what it measures. Each runs in a
process of its own, so that one cannot warm or hurt the next. The exit code is 1 if any of them failed. `peers` installs
other people's servers, so it runs only by name or with `--peers`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ON_REQUEST = "peers"


def names() -> list[str]:
    """What can be run alone, by its mark; in a folder, ``folder`` or ``folder.module``."""
    alone = [path.stem for path in FOLDER.glob("[a-z]*.py") if "write_results(Path(__file__).stem" in path.read_text()]
    inside = [path for path in FOLDER.glob("[a-z]*/*.py") if 'write_results("' in path.read_text()]
    return sorted(alone + [f"{path.parent.name}.{path.stem}".removesuffix(".__main__") for path in inside])


def run(name: str, *, is_short: bool) -> bool:
    """One benchmark; whether it ended well."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--short"] if is_short else [])]
    print(f"\n## {name}\n", flush=True)
    return subprocess.run(command, cwd=FOLDER.parent).returncode == 0


def main() -> None:
    """Run what was asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--peers", action="store_true", help="also beside other servers, which are installed for it")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(names())}")
    args = parser.parse_args()
    unknown = set(args.names) - set(names())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    every = [name for name in names() if args.peers or name != ON_REQUEST]
    failed = [name for name in args.names or every if not run(name, is_short=args.short)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
