"""An app with a receiver that takes long, for a site that a test starts."""
