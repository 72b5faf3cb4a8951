"""What bites users of caches, tried on every cache library that we know: `make safety`."""
