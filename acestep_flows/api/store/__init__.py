"""What outlives every process: the run table, and the files that runs read and write."""
