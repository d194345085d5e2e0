"""The data plane: it speaks."""
