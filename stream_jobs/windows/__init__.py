"""The window algebra: what the value of a windowed feature is, in plain Python and numpy, without I/O.

``values``   one value of an edit or a row in hand ↔ its exact form; exact form → float64 at the model's border.
``edits``    ``EditBatch``: edits as columns.
``fold``     which rows are live at a position cut.
``assemble`` the features of the live rows of many entities as of many times.

A vector is a function of (entity, as-of event time t, position cut P):

* a row's state at P is its edit with the highest position ≤ P; at one position + wins over -; repeats change nothing;
* the window of width w holds live rows with t - w < event time ≤ t;
* the row in hand replaces the stored row with its id; its position is its own (CDC) or later than all (requests).
  The cut is never above it, so "at event time t only rows with position ≤ the row in hand's" follows from the cut;
* rows are ordered by (event time, position, row id): row id breaks the ties of a snapshot, whose rows share a position.
"""
