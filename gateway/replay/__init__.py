"""A past prediction computed again: from the lake at its cut, by its definition, with its model version, in Triton.

``ledger``     rows of the ledger → predictions.
``meaning``    definition hash → the service and views it stood for, also when no plan has them any more.
``features``   the values of a prediction's features from the lake's changes at its cut.
``scores``     the model version's file from the registry, in the same Triton under another name.
``decisions``  the policy in force when it was scored.
``run``        all of it in order; the first thing that differs. ``commands``: ``appliance replay``.
"""
