"""The outside world. Clients translate its errors into `TransientError` and `PermanentError`, nothing else."""
