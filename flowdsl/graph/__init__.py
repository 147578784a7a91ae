"""Graph of entities and links as of each event: a snapshot, and the changes of the log.

Goes in: entities, links and their versions, and look-ups as of an event. Stays out: the steps that make these
look-ups.
"""
