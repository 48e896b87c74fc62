"""HTTP without Azure: the bytes of a request -> status, headers and body of its answer."""
