"""What ``infogeo compare`` measures, decides and says."""
