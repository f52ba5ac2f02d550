"""``/v1/pool``: devices and replicas."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter

from stoker_api.control.documents import Json, replica_document
from stoker_api.control.edge import AnyGrant, PlatformDep

router = APIRouter(prefix="/v1/pool", tags=["pool"])


@router.get("", summary="Devices and replicas")
async def pool(platform: PlatformDep, grant: AnyGrant) -> Json:
    """Replicas of the namespaces that the token covers."""
    covered = grant.namespaces
    return {
        "devices": [dataclasses.asdict(device) for device in platform.pool.devices()],
        "replicas": [
            replica_document(replica)
            for replica in platform.pool.replicas()
            if covered is None or replica.namespace in covered
        ],
        "problems": list(platform.pool.device_problems),
    }
