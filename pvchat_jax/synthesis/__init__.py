"""From one video of a person to a training set: watch, find the person, make positives and negatives, ask, split and export.

Every step is a pure function over the typed records of `records.py`; `stages.py` keeps what a step made, and `pipeline.py` puts the
steps in order.
"""
