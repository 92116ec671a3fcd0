"""The configuration: every setting once (`schema`), read and explained (`loading`)."""
