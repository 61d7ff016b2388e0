"""Random changes under kill -9, compared with plain SQL over an audit table: ``python -m tests.e2e.oracle --help``.

``scenario.py``  the features, as a scenario's author writes them
``*.sql``        the business's tables, the audit that triggers fill, and the oracle: every feature in plain SQL
``oracle.py``    runs that SQL; with ``changes.py``, the business's applications, it imports nothing of ours
``ours.py``      the appliance's side: definitions, source, and the values that its stores give
``probes.py``    asks for features while changes are committed and processes are killed
``kills.py``     kills
``run.py``       one whole run, ``report.py`` what it says
"""
