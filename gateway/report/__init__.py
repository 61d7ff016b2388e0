"""What a run did, in figures: latency measured from outside, and the report that ends an installation."""
