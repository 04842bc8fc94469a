"""fal: requests in a queue, as its SDKs make them (`serve --speak fal`)."""
