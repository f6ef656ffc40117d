"""Asking: a pipeline whose model is used, and whose outputs are kept, as a run says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.pipeline import Pipeline, Shipment


@dataclass(frozen=True, slots=True)
class AskingShipment:
    """A pipeline on its way to another process, where its model is limited, or recorded, and the outputs of some agents
    are kept."""

    shipment: Shipment
    use: ModelUse
    kept: tuple[str, ...] = ()

    @property
    def code_hash(self) -> str:
        """How a model is used, and what is kept, changes no answer."""
        return self.shipment.code_hash

    @property
    def key(self) -> str:
        return f"{self.shipment.key}-{self.use.limits}-{self.use.record}-{','.join(self.kept)}"

    def load(self) -> Pipeline:
        """Build the pipeline in this process. Raises PipelineError."""
        return self._as_asked(self.shipment.load())

    def outline(self) -> Pipeline:
        return self._as_asked(self.shipment.outline())

    def _as_asked(self, pipeline: Pipeline) -> Pipeline:
        return pipeline.using(self.use).keeping(self.kept)


def with_use(shipments: Mapping[str, Shipment], use: ModelUse, kept: tuple[str, ...] = ()) -> Mapping[str, Shipment]:
    """For each arm what travels to the workers, its model used so, and the outputs of these agents kept."""
    if use == AS_IT_COMES and not kept:
        return shipments
    return {arm: AskingShipment(each, use, kept) for arm, each in shipments.items()}
