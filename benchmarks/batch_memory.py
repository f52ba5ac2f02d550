"""What reading an input of ten million rows holds in memory: JSONL, and Parquet where it is at hand, keys included.

The reader of a batch run as it is, in a process of its own: rows are read, mapped to calls, and their keys checked for
doubles; nothing is called. Memory is the peak resident set of that process, rows are counted at the end.

    python -m benchmarks.batch_memory [--rows 10000000] [--short]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import markdown, write_results

READ = """
import json, resource, sys, time
from pathlib import Path
from stoker_api.batches.input_files import InputFiles, RowStream
from stoker_api.batches.items import Items, mapping_of, take_sample
from stoker_api.batches.mapping import Parameters
from stoker_api.batches.seen_keys import SeenKeys

folder = Path(sys.argv[1])
files = InputFiles([str(folder)], folder)
found = files.find([str(folder / sys.argv[2])], None)
mapping = mapping_of(take_sample(RowStream(files, found)), Parameters(), {}, "id", is_text=False)
began, rows, doubled = time.perf_counter(), 0, 0
items = Items(RowStream(files, found), mapping, SeenKeys(folder / "keys.db"), 0)
while slab := items.next_slab():
    rows += len(slab)
    doubled += sum(item.problem is not None for item in slab)
items.close()
peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([rows, doubled, time.perf_counter() - began, peak_mib]))
"""
WRITE_PARQUET = """
import sys, pyarrow, pyarrow.parquet
rows, path = int(sys.argv[1]), sys.argv[2]
schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.string())])
with pyarrow.parquet.ParquetWriter(path, schema) as writer:
    for start in range(0, rows, 100_000):
        numbers = range(start, min(rows, start + 100_000))
        columns = {"id": [f"key-{n}" for n in numbers], "text": [f"some text, number {n}" for n in numbers]}
        writer.write_table(pyarrow.table(columns, schema=schema))
"""


def measure(rows: int) -> list[dict[str, object]]:
    """Rows of the table."""
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "in.jsonl").open("w") as file:
            for number in range(rows):
                file.write(f'{{"id": "key-{number}", "text": "some text, number {number}"}}\n')
        subprocess.run([sys.executable, "-c", WRITE_PARQUET, str(rows), f"{folder}/in.parquet"], check=True)
        for name in ("in.jsonl", "in.parquet"):
            command = [sys.executable, "-c", READ, folder, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found, doubled, took_s, peak_mib = json.loads(done.stdout)
            table.append(
                {
                    "input": name.partition(".")[2],
                    "rows": found,
                    "size MiB": round(Path(folder, name).stat().st_size / 2**20),
                    "doubled keys": doubled,
                    "rows/s": round(found / took_s),
                    "peak MiB": round(peak_mib),
                }
            )
    return table


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    rows = measure(200_000 if args.short else args.rows)
    print(markdown(rows))
    write_results(Path(__file__).stem, rows)


if __name__ == "__main__":
    main()
