"""The proof: value served = value from HBase at the same cut = value that training reads from the lake at that cut.

``ledger``       predictions → questions about one view, in the order of HBase's rows.
``history``      leg 2: the window algebra over HBase's edits.
``training``     leg 3: Feast's point-in-time join over the lake, as training asks it.
``compare``      what counts as equal; what was found.
``explain``      the source rows behind a difference: the edits that HBase and the lake have.
``certificate``  the result, kept in a file.
``arrived``      waits until the stores hold everything that the ledger's rows could have read.
``run``          all of it for one service. ``commands``: ``appliance parity``. ``__main__``: the process ``parity``.
"""
