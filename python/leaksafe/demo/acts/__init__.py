"""The acts of the demo, in the order in which they are shown."""

from leaksafe.demo.act import Act
from leaksafe.demo.acts.calculator import CalculatorAct
from leaksafe.demo.acts.logins import LoginsAct
from leaksafe.demo.acts.objects import ObjectsAct
from leaksafe.demo.acts.page import PageAct
from leaksafe.demo.acts.person import PersonAct
from leaksafe.demo.acts.settings import SettingsAct
from leaksafe.demo.acts.stampede import StampedeAct

ACTS: tuple[Act, ...] = (
    CalculatorAct(),
    PageAct(),
    LoginsAct(),
    PersonAct(),
    ObjectsAct(),
    SettingsAct(),
    StampedeAct(),
)
