"""Options of a session and of a provider that are handed to ONNX Runtime as they are.

`--set option.session.KEY=VALUE` is an entry of SessionOptions (onnxruntime_session_options_config_keys.h), with or
without 'session.' before KEY; `--set option.provider.KEY=VALUE` one of the execution provider's options. ONNX Runtime
takes any key and says nothing of those that it does not know, so framepace does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from framepace.facts.bounded import Option

SESSION = "session."
PROVIDER = "provider."
_ROOTS = ("session.", "optimization.", "ep.", "mlas.", "memory.")

KNOWN: Mapping[str, str] = {
    "session.intra_op.allow_spinning": "1: threads of a node spin while idle (framepace: the setting spinning)",
    "session.intra_op_thread_affinities": "cores of the threads, e.g. '1;2;3'",
    "session.force_spinning_stop": "1: threads stop spinning when the last run ends",
    "session.dynamic_block_base": "a number such as 4: smaller parts of a node's work towards its end",
    "session.set_denormal_as_zero": "1: numbers close to zero count as zero, which CPUs compute faster",
    "session.disable_prepacking": "1: weights stay in the file's order: less memory, slower products",
    "session.use_env_allocators": "1: memory is shared between sessions",
    "session.use_device_allocator_for_initializers": "1: weights are outside of the arena",
    "session.qdqisint8allowed": "1: QDQ pairs of int8 are kept on any CPU",
    "session.disable_quant_qdq": "1: QDQ pairs are computed as they stand",
    "session.disable_aot_function_inlining": "1: functions of the model are inlined late",
    "session.graph_optimizations_loop_level": "how often the optimisers go over the graph",
    "optimization.enable_gelu_approximation": "1: a faster Gelu on a GPU",
    "optimization.disable_specified_optimizers": "names of optimisers that are left out, with ';' between",
    "mlas.enable_gemm_fastmath_arm64_bfloat16": "1: float32 products in bfloat16 on Arm",
    "provider.arena_extend_strategy": "how the arena on the GPU grows: kNextPowerOfTwo or kSameAsRequested",
    "provider.cudnn_conv_use_max_workspace": "0: cuDNN takes little memory for convolutions",
    "provider.cudnn_conv1d_pad_to_nc1d": "1: how a 1-D convolution becomes a 2-D one",
    "provider.do_copy_in_default_stream": "0: copies have a stream of their own",
    "provider.tunable_op_enable": "1: kernels are tuned for the GPU",
}


def session_entries(options: Mapping[str, Option]) -> dict[str, str]:
    """The entries of SessionOptions among the options, by ONNX Runtime's own keys."""
    entries = {}
    for key, value in options.items():
        if key.startswith(SESSION):
            name = key.removeprefix(SESSION)
            entries[name if name.startswith(_ROOTS) else key] = _text(value)
    return entries


def provider_entries(options: Mapping[str, Option]) -> dict[str, str]:
    """The provider's options among the options."""
    return {key.removeprefix(PROVIDER): _text(value) for key, value in options.items() if key.startswith(PROVIDER)}


def unknown_entries(options: Mapping[str, Option]) -> Iterator[str]:
    """A note for each entry that framepace does not know: a typing error would go unnoticed."""
    keys = [*session_entries(options), *(f"{PROVIDER}{key}" for key in provider_entries(options))]
    for key in keys:
        if key not in KNOWN:
            yield f"option {key} is not one that framepace knows: ONNX Runtime ignores what it does not know"


def _text(value: Option) -> str:
    """A value as ONNX Runtime reads it: 1 and 0 for on and off."""
    if isinstance(value, bool):
        return str(int(value))
    return str(value)
