"""Public interface: `Flow`, `Project`, `Result`, `Runtime`, `replay`, `load` and the rest of
`flowdsl.__all__`

Contains classes and functions that combine lower layers, and their documentation, but no logic of their own.
No module of the other packages but `notebook` and `cli` imports from here.
"""
