"""One queue for everything that makes a version of a model, so that it cannot slow what serves."""
