"""`leaksafe scan`: finds code that leaks by reading it, and runs none of it.

- `scan` parses files and judges what the rules suspect; `rules/` holds these.
- `module` knows scopes and parents of a syntax tree, `containers` what is done to a dict or list.
- `files` finds what to scan, `settings` what is wanted, `reports` prints, `command` is the command.
"""
