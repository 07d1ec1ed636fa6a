"""What a study decides: statistics, claims and verdicts. No file is read and no clock is asked.

One path leads from numbers to findings:

1. ``samples``: a row holds the scores of one method at one schedule length.
2. ``questions`` and ``claims``: what is claimed, by every study or by a study file or a paper.
3. ``matching``: the rows that a claim compares, side by side as matched pairs.
4. ``measurements``: the difference of the pairs, with its standard error (``statistics``).
5. ``corrections``: primary comparisons are corrected together; each null hypothesis has one p.
6. ``decisions``: the verdict, by the errors that ``rules`` allow; ``power``: what would decide.
7. ``judging``: all of it for one study. The files named ``*_words`` write the sentences.
"""
