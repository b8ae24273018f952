"""Migrations as a later release may bring them, and as none may, for `proof.upgrades`."""
