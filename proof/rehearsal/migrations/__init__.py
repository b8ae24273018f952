"""Those of the app itself, and those of the rehearsal after them."""

from pathlib import Path

from perfsee_webhooks import migrations

_RELEASED = Path(migrations.__path__[0])
LAST = max(file.stem for file in _RELEASED.glob("[0-9]*.py"))

__path__ = [*__path__, str(_RELEASED)]
