"""What an array is that somebody brings: its package, its mask, its missing values, its kind."""
