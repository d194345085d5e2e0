"""The pages. Each view reads through a named query or calls one service."""
