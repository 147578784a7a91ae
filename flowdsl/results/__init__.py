"""Results of replays: recording, storage and tables.

Goes in: the options of a replay, its run into tables, and the tables as data (`ResultData`). Stays out:
explanations, pictures and reports, which `flowdsl.Result` adds.
"""
