"""Programs that keep generated documents current. `make docs` runs them; tests fail when a document is stale."""
