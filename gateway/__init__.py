"""The HTTP application, the Kafka scorer and the console. All three ways in share one scorer."""
