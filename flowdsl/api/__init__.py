"""Public classes and functions: `Flow`, `Project`, `Result`, `Runtime`, `replay`, `load` and the rest of
`flowdsl.__all__`.

Goes in: classes and functions that only put together what lies below, with their documentation. Stays out:
any work of their own. No module of the other packages but `notebook` and `cli` imports from here.
"""
