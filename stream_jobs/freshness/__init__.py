"""How fresh each view is in each store: position reached, its age, records still to write, records written a second."""
