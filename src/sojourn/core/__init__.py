"""The core: time and values, no I/O. What a session is, what becomes of it, and the contract that stores keep."""
