"""What is said of events, from every way in, and the one answer that follows from it."""
