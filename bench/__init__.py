"""Measures the gateway on this machine: what a request costs, beside nginx as a plain proxy."""
