"""Bytes and values: cookies, signatures, headers, and what a request brings."""
