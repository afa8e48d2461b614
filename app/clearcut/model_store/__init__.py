"""Model files from elsewhere: fetched by a person at the command line, never by the service."""
