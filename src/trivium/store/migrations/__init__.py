"""Alembic's scripts: how the tables came to be, step by step."""

HEAD = "0001"
"""The newest step. A database that has reached it is opened without loading Alembic."""
