"""How far the outputs of two computations of the same model may lie apart, as a share of their largest magnitude."""

from __future__ import annotations

# Another order of additions in float32.
FLOAT_TOLERANCE = 1e-3
# The same for int8, where a sum that is rounded the other way is a whole step.
INT8_TOLERANCE = 0.05
