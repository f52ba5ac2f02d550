"""Which cycle answers which head."""

from __future__ import annotations

from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.head import RequestHead
from stoker_api.gateway.infer_cycle import InferCycle
from stoker_api.gateway.job_cycle import JobCycle
from stoker_api.gateway.predict_cycle import PredictCycle
from stoker_api.gateway.stream_cycle import StreamCycle
from stoker_api.gateway.target import TargetKind


def cycle_class(head: RequestHead) -> type[InvokeCycle]:
    """The class for one call."""
    if head.kind is TargetKind.INVOKE:
        if head.wants_job is not None:
            return JobCycle
        return StreamCycle if head.wants_events else InvokeCycle
    return PredictCycle if head.kind is TargetKind.PREDICT else InferCycle
