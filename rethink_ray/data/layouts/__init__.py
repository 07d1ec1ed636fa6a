"""Recognisers of folders of labelled pictures: a folder in, the ``data`` section of a study out."""
