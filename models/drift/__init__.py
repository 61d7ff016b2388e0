"""Whether what is served is still like what the model learned from.

``measure``  PSI, missing, unseen: one column against the training set's.
``run``      a service's last predictions against the training set of the version that serves; label delay.
``kept``     the last result of each service, its words and figures; for processes that measure nothing.
``commands`` ``appliance drift``.
"""
