"""The versioned wire formats."""
