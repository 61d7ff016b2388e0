"""The way of an answered prediction into Kafka: first a file, then everything else."""
