"""The ceilings: applications that do only the unavoidable work."""
