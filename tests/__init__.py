"""A package, lest another one that installs its own tests under this name be found instead."""
