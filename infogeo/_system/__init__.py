"""What infogeo needs of the machine: files, optional libraries, progress bars, storage."""
