"""Where traces come from: files, buckets and hubs, formats, and shards that tasks read."""
