"""Clients for external systems. They translate every external error into `TransientError` or `PermanentError`."""
