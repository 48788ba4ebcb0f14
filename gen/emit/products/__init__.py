"""Products: what the files of all backends share."""
