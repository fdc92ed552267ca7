# The compiled core, as far as a type checker needs to know it; _lib is its only importer.
from typing import Any

ffi: Any
lib: Any
