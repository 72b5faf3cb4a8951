"""The acts of the demo, in the order in which they are shown."""

from leaksafe.demo.act import Act
from leaksafe.demo.acts.calculator import CalculatorAct

ACTS: tuple[Act, ...] = (CalculatorAct(),)
