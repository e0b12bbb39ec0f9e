"""Applies a transition to a request that is only in memory, as the store must."""

from dataclasses import replace

from aigen_bridge.domain.request import FailedBy, ImageRequest, Status, Transition, VersionedTransition


def made(request: ImageRequest, transition: Transition) -> ImageRequest | None:
    """Applies a transition as the store must: guarded by the request's state and by the version that was read."""
    final = request.failed_by is FailedBy.N8N
    version = transition.version if isinstance(transition, VersionedTransition) else request.version
    if request.status not in transition.before or version != request.version or final:
        return None
    return replace(
        request,
        status=transition.after,
        version=request.version + 1,
        failed_by=transition.failed_by,
        error_code=transition.error_code,
        error_message=transition.error_message,
        image=transition.image or request.image,
        awaited=(
            None if transition.after is Status.COMPLETED or transition.image else transition.awaited or request.awaited
        ),
        provenance=transition.provenance or request.provenance,
    )
