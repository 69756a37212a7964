"""Settings of the detectors' rules."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class RulesConfig(BaseModel):
    """`folders`: rule folders of the user, later ones win by id. `tool_map`: a `tools.yaml`, None:
    none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: tuple[Path, ...] = ()
    tool_map: Path | None = None
