"""What runs in Flink's own Python environment: it has PyFlink and no Feast, msgspec or Kafka client."""
