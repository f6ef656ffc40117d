"""Sources: files of several formats, each read into a Dataset."""
