"""Devices that people have, as parameters.

Each figure with a source is the vendor's, named in the comment beside it; 'measured' marks what framepace's authors
measured on one H200 (driver 580.159). **Everything else is an assumption**: chosen to be plausible, not published.
Peaks are dense (for A100, H100 and H200 the data sheets print them with sparsity too, which is twice as much).
Bandwidths of copies are what transfers reach, four fifths of the link's, unless measured.
"""

from __future__ import annotations

from msgspec.structs import replace

from framepace.errors import unknown
from framepace.simulate.parameters import DeviceModel

# What all have in common is assumed, but for the sleep of the host, which was fitted to what was measured on the host
# of the H200 (others may differ): an inference of 0.116 ms takes 58 us longer after 20 ms of sleep than back to back,
# 78 us after 50 ms, 39 us between heartbeats of 1 ms; of that 27, 35 and 19 us in the kernels.
_HOST = DeviceModel(
    kernel_us=1.5,
    launch_us=2.5,
    graph_us=6.0,
    copy_us=2.0,
    block_us=25.0,
    context_us=150.0,
    context_mb=500.0,
    cpu_gflops=200.0,
    wake_us=44.0,
    asleep_us=110.0,
    asleep_factor=0.3,
    jitter=0.01,
)

# [MM] 'Matrix Multiplication Background User's Guide' (NVIDIA DU-09799-001), section 2.2, 'Tensor Core Requirements'.
# [T4] 'NVIDIA T4 Tensor Core GPU' data sheet (2019), table of specifications; [T4B] 'NVIDIA T4 70W Low Profile PCIe GPU
# Accelerator' product brief PB-09256-001, tables 1 and 2; [TU] 'NVIDIA Turing GPU Architecture' whitepaper, appendix A.
T4 = replace(
    _HOST,
    sm_count=40,  # [TU]: 2,560 CUDA cores, 64 per SM
    fp32_tflops=8.1,  # [T4]
    fp16_tflops=65.0,  # [T4], mixed precision
    bf16_tflops=0.0,  # [TU]: Turing's tensor cores have FP16, INT8 and INT4
    int8_tops=130.0,  # [T4]
    fp16_multiple=8,  # [MM]
    int8_multiple=16,  # [MM]
    uneven_share=0.25,  # [MM]: before cuBLAS 11 without tensor cores, which is twice the rate of fp32
    dram_gb_s=320.0,  # [T4B]
    memory_gb=16.0,  # [T4]
    memory_mhz=5001,  # [T4B]
    idle_mhz=300,
    base_mhz=585,  # [T4B]
    boost_mhz=1590,  # [T4B]
    # Under a light load the clock falls within seconds: users report latency that doubles after 50 to 300 requests, and
    # settles where the device is busy for 0.34 to 0.38 of the time. How the driver decides is not published; a clock
    # that is lowered until that share is reached, after the load was light for more than a second, reproduces it.
    load_share=0.38,
    load_hold_ms=1200.0,
    load_fall_ms=4000.0,
    load_window_ms=150.0,
    idle_delay_ms=1000.0,
    fall_ms=500.0,
    rise_ms=50.0,
    idle_w=10.0,
    dynamic_w=120.0,  # users report large networks 15 to 18 % slower back to back than paced: 0.86 of the clock at 70 W
    power_limit_w=70.0,  # [T4]
    ambient_c=35.0,
    heating_c_per_w=0.6,
    thermal_limit_c=85.0,
    pinned_gb_s=12.6,  # PCIe 3.0 x16 [T4]: 15.75 GB/s per direction
    pageable_gb_s=5.0,
    pcie_generation=3,
    launch_us=4.0,
)

# [AGX] 'NVIDIA Jetson AGX Xavier System-on-Module' data sheet DS-09654-002, sections 'Volta GPU' and 'Memory';
# [AGXB] NVIDIA developer blog 'Jetson AGX Xavier Delivers 32 TeraOps for New Era of AI in Robotics' (2018), table 1.
XAVIER = replace(
    _HOST,
    sm_count=8,  # [AGX]: 512 CUDA cores, 64 per SM
    fp32_tflops=1.41,  # 512 cores at 1377 MHz, two operations each
    fp16_tflops=11.0,  # [AGXB]
    bf16_tflops=0.0,  # Volta has none
    int8_tops=22.0,  # [AGXB], of the GPU alone
    fp16_multiple=8,  # [MM]
    int8_multiple=16,  # [MM]
    uneven_share=0.25,  # as the T4
    dram_gb_s=137.0,  # [AGXB]
    memory_gb=32.0,  # [AGXB]
    memory_mhz=2133,  # [AGXB]
    idle_mhz=114,
    base_mhz=318,
    boost_mhz=1377,  # [AGXB]
    load_share=0.7,  # the kernel's devfreq governor follows the load
    load_window_ms=300.0,
    idle_delay_ms=200.0,
    fall_ms=100.0,
    rise_ms=50.0,
    idle_w=4.0,
    dynamic_w=30.0,
    power_limit_w=30.0,  # [AGXB]: power modes of 10, 15 and 30 W
    ambient_c=35.0,
    heating_c_per_w=1.2,
    thermal_limit_c=85.0,
    pinned_gb_s=20.0,  # host and GPU share one memory
    pageable_gb_s=8.0,
    pcie_generation=0,
    pcie_lanes=0,
    launch_us=10.0,
    graph_us=20.0,
    kernel_us=4.0,
    cpu_gflops=60.0,
)

# [A] 'NVIDIA A100 Tensor Core GPU' data sheet (2021), column of the SXM modules; [AW] 'NVIDIA A100 Tensor Core GPU
# Architecture' whitepaper, table 'Comparison of NVIDIA Data Center GPUs'.
A100 = replace(
    _HOST,
    sm_count=108,  # [AW]
    fp32_tflops=19.5,  # [A]
    fp16_tflops=312.0,  # [A]
    bf16_tflops=312.0,  # [A]
    int8_tops=624.0,  # [A]
    fp16_multiple=8,  # [MM]; other sizes use tensor cores too, from cuBLAS 11 on
    int8_multiple=16,  # [MM]
    dram_gb_s=2039.0,  # [A], 80 GB
    memory_gb=80.0,  # [A]
    memory_mhz=1593,
    idle_mhz=210,
    base_mhz=1095,
    boost_mhz=1410,  # [AW]
    idle_delay_ms=5000.0,
    fall_ms=500.0,
    rise_ms=50.0,
    idle_w=60.0,
    dynamic_w=480.0,
    power_limit_w=400.0,  # [A]
    heating_c_per_w=0.1,
    thermal_limit_c=85.0,
    pinned_gb_s=25.0,  # PCIe 4.0 x16 [A]: 31.5 GB/s per direction
    pageable_gb_s=8.0,
    pcie_generation=4,
)
A100_40 = replace(A100, dram_gb_s=1555.0, memory_gb=40.0, memory_mhz=1215)  # [A], [AW]

# [H] 'NVIDIA H100 Tensor Core GPU' data sheet (2023), column of the SXM module; [HW] 'NVIDIA H100 Tensor Core GPU
# Architecture' whitepaper v1.04, table 3.
H100 = replace(
    _HOST,
    sm_count=132,  # [HW]
    fp32_tflops=66.9,  # [HW]
    fp16_tflops=989.4,  # [HW]
    bf16_tflops=989.4,  # [HW]
    int8_tops=1978.9,  # [HW]
    fp16_multiple=8,  # [MM]; other sizes use tensor cores too, from cuBLAS 11 on
    int8_multiple=16,  # [MM]
    dram_gb_s=3350.0,  # [H]
    memory_gb=80.0,  # [H]
    memory_mhz=2619,
    idle_mhz=345,
    base_mhz=1590,
    boost_mhz=1980,  # highest clock; tensor peaks in [HW] are for 1830 MHz, the difference is left to `efficiency`
    idle_delay_ms=5000.0,
    fall_ms=500.0,
    rise_ms=50.0,
    idle_w=75.0,
    dynamic_w=950.0,
    power_limit_w=700.0,  # [H]
    heating_c_per_w=0.06,
    thermal_limit_c=87.0,
    pinned_gb_s=50.0,  # PCIe 5.0 x16 [H]: 63 GB/s per direction
    pageable_gb_s=10.0,
    pcie_generation=5,
)

# [H2] 'NVIDIA H200 Tensor Core GPU' data sheet (2023), column of the SXM module: arithmetic and power are the H100's.
H200 = replace(
    H100,
    dram_gb_s=4800.0,  # [H2]
    memory_gb=141.0,  # [H2]
    memory_mhz=3201,
    idle_mhz=345,  # measured
    boost_mhz=1980,  # measured: stays there through gaps of 200 ms; 1650 under a load that reaches the 700 W
    pinned_gb_s=56.7,  # measured
    cold_us=4.0,  # measured: what is left after a gap through which the host spun
)

PRESETS = {
    "t4": T4,
    "xavier": XAVIER,
    "a100": A100,
    "a100-40": A100_40,
    "h100": H100,
    "h200": H200,
    "ideal": DeviceModel(),
}


def preset(name: str) -> DeviceModel:
    """The parameters of a device by name; 'ideal' has every effect off. Raises UsageError for an unknown name."""
    if name not in PRESETS:
        raise unknown("simulated device", name, PRESETS)
    return PRESETS[name]
