"""The process that scores Kafka requests and captured rows."""
