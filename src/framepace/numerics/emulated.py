"""A model in FP16 or BF16 against itself in FP32 where no device computes in it: emulated node by node on the CPU."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.analyze.agreement import worst_frames
from framepace.facts.accuracy import Agreement, Emulation, Gate
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Input
from framepace.models.convert.kept import check_names
from framepace.numerics.inputs import Inputs, tried_inputs
from framepace.numerics.ranges import inner_tensors, reaches, tensor_values
from framepace.numerics.rounding import CASTS
from framepace.numerics.switched import Network
from framepace.numerics.tallying import agreement_of
from framepace.numerics.trials import in_fp32
from framepace.progress import Tell

_CPU = (None, "cpu")


def is_emulated(reference: ModelPlan, candidate: ModelPlan) -> bool:
    """Whether the candidate is the reference in a precision in which ONNX Runtime computes nothing on a CPU."""
    if candidate.backend != "onnxruntime" or candidate.device not in _CPU or candidate.precision not in CASTS:
        return False
    plain = replace(candidate, precision="fp32", device=reference.device, fp32_nodes=reference.fp32_nodes)
    return plain == reference and reference.device in _CPU


class EmulatedModel:
    """A model with all nodes in its precision but for the plan's `fp32_nodes`, and the frames that it is tried on.

    Raises what `Network` and `tried_inputs` raise; ModelError where an output is NaN in FP32.
    """

    def __init__(self, model: ModelPlan, input: Input, frames: int, seed: int, tell: Tell) -> None:
        tell(f"loading {model.name} with a switch per node", None)
        self._network = Network(model, CASTS[model.precision])
        check_names(model.fp32_nodes, self._network.proto.graph, model.name)
        self._inputs = tried_inputs(model, input, frames, seed)
        self._low = [name for name in self._network.names if name not in model.fp32_nodes]
        self._tell = tell

    def agreement(self, gate: Gate, metric: str | None, least: float) -> Agreement:
        """How far the outputs agree with those in FP32, as `gate.agreement` says it of models that run."""
        network = self._network
        pairs = ((in_fp32(network, one, frame), network.run(one, self._low)) for frame, one in enumerate(self._inputs))
        return agreement_of(pairs, len(self._inputs), gate, metric=metric, least=least, tell=self._tell, stoppable=True)

    def emulation(self, agreement: Agreement) -> Emulation:
        """The largest value that a node in the precision makes, in FP32, on the frame that agrees least."""
        worst = worst_frames(agreement, 1)
        made = self._reaches(self._inputs[worst[0].frame if worst else 0])
        largest = self._network.rounding.largest
        if not made:
            return Emulation(largest=largest)
        node = max(made, key=lambda name: made[name])
        return Emulation(largest=largest, reach=made[node], node=node)

    def _reaches(self, inputs: Inputs) -> dict[str, float]:
        """The largest magnitude that each node in the precision makes, by name."""
        network = self._network
        values = tensor_values(network, inputs, (), inner_tensors(network))
        nodes = {node.name: node for node in network.proto.graph.node}
        made = {name: reaches(values, nodes[name].output) for name in self._low}
        return {name: reach for name, reach in made.items() if reach is not None}
