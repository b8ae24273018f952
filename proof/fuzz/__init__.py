"""Hostile requests without number: over HTTP against a real server, and in process.

`python -m proof.fuzz --minutes 10 --seed 7` runs both, and prints what was tried and found.
"""
