"""The online store: edits in Redis for live reads, every edit in HBase, and the reader that turns them into vectors."""
