"""What is done when the interpreter exits, and in a forked child."""

import atexit
import os

from leaksafe import _core

# After the handlers that are registered later, which may still use caches, and before the
# interpreter goes.
atexit.register(_core._sweeper_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core._sweeper_forked)
