"""Versions of views side by side: what a change begins, when readers switch, how one goes back, what is removed after.

``transition``  the plan before → the plan after, for every step; no I/O.
``holder``      the plan file changed by one process at a time.
``agreement``   values of two versions at one position.
``tending``     what the process ``flink-jobs`` does at each look: switch, let go, remove.
``difference``  two plans compared, in words. ``forecast``: what filling a new version takes.
``commands``    ``appliance features plan | apply | list | get | rollback``.
"""
