"""The wire formats, versioned."""
