"""Version 2 of the interface: the callback without base64. Everything else is version 1."""
