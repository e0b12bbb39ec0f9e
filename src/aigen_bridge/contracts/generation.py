"""The messages between N8N and the bridge about a generation (interface, "Generation")."""

from aigen_bridge.domain.generation import ProviderJob


def provider_job(job: ProviderJob) -> dict[str, str]:
    """Returns the job as it is sent to N8N."""
    fields = {
        "provider": job.provider,
        "jobId": job.job_id,
        "statusUrl": job.status_url,
        "responseUrl": job.response_url,
        "cancelUrl": job.cancel_url,
    }
    return {name: value for name, value in fields.items() if value is not None}
