"""Where labels live: people, tasks, leases, labels, and the journal that makes them safe.

One file is the whole store: SQLite by default, PostgreSQL through the same URL. Functions take a
`Store` and return frozen dataclasses; nothing here knows of HTTP.
"""
