"""Results of replays: recording, storage and tables.

Goes in: the options of a replay, its run into tables, and the tables as data (`ResultData`). Stays out: what
explains, draws or reports them, which `flowdsl.Result` puts together.
"""
