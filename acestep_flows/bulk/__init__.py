"""Jobs of many songs: manifests, gates, results, and the formats, reports and tracking that come of them (no Ray)."""
