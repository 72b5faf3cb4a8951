"""How fast and how heavy leaksafe is, as ratios against its peers in one run.

`python -m benches` from the root of the repository, or `make bench`.
"""
