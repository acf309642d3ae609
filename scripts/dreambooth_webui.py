"""Entry point for A1111 and Forge: loads the pack once under a unique name and adds its tab."""

import importlib
import importlib.util
import sys
from pathlib import Path

from modules import script_callbacks

ALIAS = "dreambooth_trainer_pack"
PACK = Path(__file__).absolute().parents[1]


def load(module: str):
    """Return a module of the pack, which stays loaded when "Reload UI" runs this file again."""
    if ALIAS not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            ALIAS, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
        )
        pack = importlib.util.module_from_spec(spec)
        sys.modules[ALIAS] = pack
        spec.loader.exec_module(pack)
    return importlib.import_module(f"{ALIAS}.a1111.{module}")


Guard = load("device").Guard  # the host finds scripts by their class
script_callbacks.on_ui_tabs(load("tab").make_tab)
script_callbacks.on_app_started(load("routes").add_routes)
script_callbacks.on_model_loaded(load("device").model_loaded)
