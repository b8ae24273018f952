"""An app whose receivers count themselves, for a site whose processes are killed."""
