"""Turns the scores of a study into findings: claims with a difference, a verdict and a sentence.

Nothing here reads a file or the clock. One path leads from scores to findings:

1. ``samples``: a sample holds the scores of one method at one schedule length.
2. ``questions`` are claims that every study makes by itself. ``claims`` are declared, by a study
   file or a paper.
3. ``matching`` finds the samples that a claim compares, and puts them side by side as pairs.
4. ``measurements`` computes the difference of the pairs and its standard error (``statistics``).
5. ``corrections`` corrects the primary comparisons together, and gives each null hypothesis one p
   value.
6. ``decisions`` gives the verdict, with the errors that ``rules`` allow. ``power`` says how many
   replicates a decision needs.
7. ``judging`` does all of it for one study. The files named ``*_words`` write the sentences.

A study may stop when it has decided (``looks``): its primary comparisons are tested at planned
numbers of replicates. ``spending`` gives each look its level, ``step_down`` and ``families``
correct the comparisons together, ``stage_estimates`` allows for the look that stopped one.
"""
