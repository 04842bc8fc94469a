"""Replicate: predictions of models, as its SDKs make them (`serve --speak replicate`)."""
