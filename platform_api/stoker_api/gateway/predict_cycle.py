"""KServe's v1 protocol: ``{"instances": […]}`` → ``{"predictions": […]}``.

Each instance becomes an invocation of its own, so that instances are batched with each other and with everyone else's.
The rule that must not break: predictions stand in the order of their instances.
"""

from __future__ import annotations

import msgspec

from stoker.errors import InvalidArguments
from stoker_api.gateway.answer import JSON_TYPE
from stoker_api.gateway.cycle import InvokeCycle
from stoker_api.gateway.ports import Route
from stoker_api.gateway.receipts import as_json, receipt, refused_timing, server_timing
from stoker_runtime.invocation import Invocation

_encode = msgspec.json.Encoder().encode


class PredictRequest(msgspec.Struct):
    """What a v1 client sends; ``signature_name`` and the like are ignored."""

    instances: list[msgspec.Raw] | None = None
    inputs: list[msgspec.Raw] | None = None  # TensorFlow's other spelling, which KServe takes too


_decode = msgspec.json.Decoder(PredictRequest).decode


class PredictCycle(InvokeCycle):
    """``POST /v1/models/{name}:predict``."""

    __slots__ = ("_invocations", "_pending")

    def begin(self, route: Route) -> None:
        instances = self._instances()
        self._pending = len(instances)
        if not instances:
            self.answer(200, b'{"predictions":[]}', JSON_TYPE, refused_timing(self._started_ns))
            return
        self._invocations = [self.new_invocation(bytes(raw), "", self._on_one_done) for raw in instances]
        self._connection.gateway.counters.in_flight += len(instances)
        for invocation in self._invocations:
            route.dispatcher.submit(invocation)

    def cancel(self) -> None:
        for invocation in getattr(self, "_invocations", ()):
            if invocation.cancel is not None and invocation.outcome is None:
                invocation.cancel()

    def _instances(self) -> list[msgspec.Raw]:
        try:
            request = _decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArguments(
                f"the body is no v1 predict request: {error}", hint='Send {"instances": [ … ]} as JSON.'
            ) from error
        instances = request.instances if request.instances is not None else request.inputs
        if instances is None:
            raise InvalidArguments(
                "the body has no instances", errors=(("instances", "missing"),), hint='Send {"instances": [ … ]}.'
            )
        most = self._connection.gateway.limits.max_instances
        if len(instances) > most:
            raise InvalidArguments(f"the request has {len(instances)} instances, at most {most} are taken at once")
        return instances

    def _on_one_done(self, invocation: Invocation) -> None:
        self.observe(invocation)
        self._pending -= 1
        if self._pending or self.disconnected:
            return
        predictions = []
        for each in self._invocations:
            outcome = each.outcome
            assert outcome is not None
            if outcome.error is not None:
                self._invocation = each  # its receipt is the one that explains
                self.refuse(outcome.error)
                return
            predictions.append(as_json(outcome.body, outcome.content_type))
        body = b'{"predictions":[' + b",".join(predictions) + b"]"
        if self.head.wants_receipt:
            body += b',"receipts":' + _encode([receipt(each) for each in self._invocations])
        self.answer(200, body + b"}", JSON_TYPE, server_timing(invocation))
