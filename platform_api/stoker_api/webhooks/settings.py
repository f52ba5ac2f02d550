"""What a webhook may reach, and for how long it is tried."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from stoker.errors import InvalidOption

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """Set by ``STOKER_WEBHOOKS_…``."""

    allowed_networks: str = ""
    """Private networks that webhooks may reach, with commas: ``127.0.0.0/8,10.1.0.0/16``. Public ones always are."""
    allow_http: bool = False
    """Also take ``http://`` URLs of public addresses; those of allowed networks are always taken."""
    timeout_s: float = 15.0
    """How long one attempt may take."""
    give_up_after_s: float = 86_400.0
    """For how long a delivery is tried."""
    keep_s: float = 7 * 86_400.0
    """For how long ended deliveries stay in the log."""
    concurrency: int = 32
    """Attempts at once; 4 of them to one endpoint."""

    def __post_init__(self) -> None:
        _ = self.networks
        if not 0 < self.timeout_s <= 300:
            raise InvalidOption(f"webhooks.timeout_s must be > 0 and <= 300, got {self.timeout_s}")
        if not 0 <= self.give_up_after_s <= 30 * 86_400:
            raise InvalidOption(f"webhooks.give_up_after_s must be from 0 to 30 days, got {self.give_up_after_s}")
        if self.keep_s < 0:
            raise InvalidOption(f"webhooks.keep_s must be >= 0, got {self.keep_s}")
        if not 1 <= self.concurrency <= 1000:
            raise InvalidOption(f"webhooks.concurrency must be from 1 to 1000, got {self.concurrency}")

    @property
    def networks(self) -> tuple[Network, ...]:
        """``allowed_networks`` as networks."""
        found: list[Network] = []
        for text in filter(None, (part.strip() for part in self.allowed_networks.split(","))):
            try:
                found.append(ipaddress.ip_network(text, strict=False))
            except ValueError as error:
                raise InvalidOption(
                    f"webhooks.allowed_networks must hold networks such as 10.1.0.0/16, got {text!r}"
                ) from error
        return tuple(found)
