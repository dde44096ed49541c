"""How xarray's objects look in a store, in both directions."""
