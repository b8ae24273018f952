"""Databases of a server, as a site has them that is not made for programs alone."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg


def created(server: str, name: str) -> str:
    """Make a database, and return its address.

    In the language "C" PostgreSQL finds the beginning of a text by any index; elsewhere, as on
    most sites, only by one that was made for it.
    """
    with psycopg.connect(server, autocommit=True) as connected:
        connected.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C.UTF-8'")
    return urlsplit(server)._replace(path=f"/{name}").geturl()
