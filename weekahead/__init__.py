import os

# NVML and nvidia-smi count GPUs by their place on the bus, CUDA by their speed: with cards of two
# kinds GPU=0 would be another one in the figures than in the training.
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
