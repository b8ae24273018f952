"""What can break the promise of this app, tried: `python -m proof`."""
