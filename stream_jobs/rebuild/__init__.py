"""From the lake's change tables: a view's edits again, and the stores that hold them filled anew."""
