# The whole job in a container, on a CPU or on an NVIDIA GPU:
#   docker build -t weekahead .
#   docker run --rm -it weekahead make demo
#   docker run --rm -it --gpus all -v "$PWD/outputs:/weekahead/outputs" weekahead make train MODEL=llama
# For GPUs build with --build-arg TORCH=auto --build-arg CUDA_VERSION=13; the default is the CPU build.
FROM python:3.12-slim
ARG TORCH=cpu
ARG CUDA_VERSION=
# A C compiler: Triton compiles the kernels of the loss on a GPU.
RUN apt-get update && apt-get install -y --no-install-recommends make git gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /weekahead
COPY setup.sh requirements*.txt requirements*.lock ./
RUN ./setup.sh
COPY . .
CMD ["make", "demo"]
