"""Where things are: stores, places in them, what lies there, and directories in the making."""
