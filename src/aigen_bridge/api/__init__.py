"""The HTTP API. Endpoints verify, parse, call the pipeline and respond; they use no SQL and no clients."""
