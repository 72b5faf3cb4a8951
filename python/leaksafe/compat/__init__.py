"""Stand-ins for other libraries, under their names."""
