"""HTTP in. Endpoints verify, parse, call the pipeline, answer; they know no SQL and no clients."""
