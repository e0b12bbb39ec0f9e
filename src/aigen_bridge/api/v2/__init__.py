"""Version 2 of the interface: the callback without base64. Everything else is the same as in version 1."""
