"""Receive, store, dispatch and replay Perfsee's signed webhooks in a Django project."""
