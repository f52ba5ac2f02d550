"""What a published output says of itself, in ``manifest.json``.

The rule that must not break: it names every file of the output with its size and hash, and nothing that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stoker_api.batches.records import BatchRecord, ChunkRecord

Json = dict[str, Any]


def manifest_of(
    record: BatchRecord, chunks: Sequence[ChunkRecord], fingerprints: Sequence[Json], now: datetime
) -> Json:
    """The document."""
    spec = record.spec
    rows = sum(chunk.rows for chunk in chunks)
    failed = sum(chunk.failed for chunk in chunks)
    return {
        "format_version": 1,
        "batch": record.id,
        "function": f"{spec.namespace}/{spec.function}@{record.revision}",
        "method": spec.method,
        "format": spec.output_format.value,
        "rows": rows,
        "succeeded": rows - failed,
        "failed": failed,
        "parts": [chunk.part for chunk in chunks if chunk.part is not None],
        "errors": [chunk.errors for chunk in chunks if chunk.errors is not None],
        "input": list(fingerprints),
        "mapping": dict(spec.mapping),
        "key": spec.key,
        "finished_at": now.isoformat(),
    }
