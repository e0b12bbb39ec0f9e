"""The rules, as pure functions: no I/O, no clock, no framework. Time and randomness are passed in."""
