"""An interpreter of flows written straight from the 21 rules: one event, one context, one step at a time.

It knows nothing of columns, chunks or kernels. Of flowdsl it uses the options of the steps, and the row forms of
conditions and templates, which have differential tests of their own.
"""

from oracle.interpreter import Delivery, Outcome, Tally, interpret
from oracle.values import canonical

__all__ = ["Delivery", "Outcome", "Tally", "canonical", "interpret"]
