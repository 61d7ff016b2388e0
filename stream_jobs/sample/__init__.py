"""Sample data in the sample business database: history loaded at once, the rest replayed as a business commits it."""
