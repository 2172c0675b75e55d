"""Files and names become Applications: targets."""
