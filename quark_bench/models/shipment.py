"""A pipeline with another model than its own: what `--model` does to a user's pipeline, in every arm and process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from quark_bench.fingerprint import canonical_form
from quark_bench.model import Model, model_told
from quark_bench.pipeline import Pipeline, Shipment


@dataclass(frozen=True, slots=True)
class ModelledShipment:
    """A pipeline on its way to another process, where it asks that model."""

    shipment: Shipment
    model: Model

    @property
    def code_hash(self) -> str:
        return _keyed(self.shipment.code_hash, str(model_told(self.model)).encode())

    @property
    def key(self) -> str:
        """Of its own also where only what leaves answers alone is another: prices, the key's variable."""
        return _keyed(self.shipment.key, canonical_form(self.model).encode())

    def load(self) -> Pipeline:
        """Build the pipeline in this process. Raises PipelineError."""
        return self.shipment.load().with_model(self.model)

    def outline(self) -> Pipeline:
        return self.shipment.outline().with_model(self.model)


def _keyed(key: str, model: bytes) -> str:
    return hashlib.sha256(key.encode() + b"\0" + model).hexdigest()
