# framepace on a node of a Ray cluster, for examples/deploy/kuberay.yaml. From the root of a checkout:
#
#   docker build -f examples/deploy/ray.Dockerfile -t registry.example/framepace-ray:0.2.0 .
#
# The versions of Ray and Python have to be those of every node; without GPUs: an image that does not end in -gpu, and
# --build-arg EXTRAS=mqtt,ray.
ARG RAY_IMAGE=rayproject/ray:2.60.0-py312-gpu
FROM ${RAY_IMAGE}
ARG EXTRAS=cuda,mqtt,ray,serve
COPY --chown=ray pyproject.toml README.md LICENSE constraints.txt /tmp/framepace/
COPY --chown=ray src /tmp/framepace/src
RUN pip install --no-cache-dir -c /tmp/framepace/constraints.txt "/tmp/framepace[$EXTRAS]" && rm -r /tmp/framepace
