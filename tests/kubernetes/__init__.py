"""The Helm chart, rendered and validated."""
