"""One file per promise of speed; each prints a ratio to something in the same run. `make bench` runs them all."""
