"""A study file for a folder of labelled pictures: looks, times the machine, designs, writes."""
