"""`python -m leaksafe.demo`: everyday leaks beside their replacements, measured live.

- `act` says what an act is; `acts/` holds them, one module each.
- `source` makes the input, `measure` runs each side in a process of its own.
- `screen` draws with rich, `plain` prints lines; `chart` and `page` draw the result.
- `finding` lets `leaks.check` look for the leaks of the leaky sides.
"""
