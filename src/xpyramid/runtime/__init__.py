"""Where work runs: workers, progress, and faults that pass."""
