"""Asking: a pipeline whose model is used as a run says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.pipeline import Pipeline, Shipment


@dataclass(frozen=True, slots=True)
class AskingShipment:
    """A pipeline on its way to another process, where its model is limited, or recorded."""

    shipment: Shipment
    use: ModelUse

    @property
    def code_hash(self) -> str:
        """How a model is used changes no answer."""
        return self.shipment.code_hash

    @property
    def key(self) -> str:
        return f"{self.shipment.key}-{self.use.limits}-{self.use.record}"

    def load(self) -> Pipeline:
        """Build the pipeline in this process. Raises PipelineError."""
        return self.shipment.load().using(self.use)

    def outline(self) -> Pipeline:
        return self.shipment.outline().using(self.use)


def with_use(shipments: Mapping[str, Shipment], use: ModelUse) -> Mapping[str, Shipment]:
    """For each arm what travels to the workers, its model used so."""
    return shipments if use == AS_IT_COMES else {arm: AskingShipment(each, use) for arm, each in shipments.items()}
