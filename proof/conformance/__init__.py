"""Scenarios that any receiver of Perfsee's webhooks has to stand, run against it over HTTP."""
