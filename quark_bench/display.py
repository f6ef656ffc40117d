"""Display: how things show themselves in a notebook. A door lends it, as things do not know how they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar


class Displayed:
    """What shows itself in a notebook, by the forms that IPython may choose from."""

    forms: ClassVar[Callable[[Any], Mapping[str, str]]]
    """Each form of a thing by its media type; filled in by the package's door."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Mapping[str, str]:
        return Displayed.forms(self)
