"""GPU readings and the system monitor, through the binary interface of a stub driver."""

import ast
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from weekahead.tracking.gpu import visible_devices
from weekahead.tracking.gpu_check import gpu_energy_wh
from weekahead.tracking.system_monitor import HostMeter, SystemMonitor

ROOT = Path(__file__).resolve().parents[2]
UUIDS = ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbcc-3"]


def run_python(code, **variables):
    """Run code in a fresh process: a driver is loaded once per process."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
    } | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def read(**variables):
    code = (
        "import json; from weekahead.tracking.gpu import read_gpus; print(json.dumps(read_gpus()))"
    )
    done = run_python(code, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_value_of_a_gpu_is_read(nvml_stub):
    gpus, reason = read(LD_LIBRARY_PATH=str(nvml_stub))
    assert reason is None
    assert gpus == [
        {
            "index": 0,
            "name": "Stub T4",
            "utilization_percent": 73,
            "memory_used_bytes": 4 * 2**30,
            "memory_total_bytes": 15 * 2**30,
            "power_watts": 65.5,
            "temperature_celsius": 61,
        }
    ]


def test_a_value_that_the_driver_does_not_know_is_null(nvml_stub):
    gpus, _ = read(LD_LIBRARY_PATH=str(nvml_stub), NVML_STUB_NOUTIL="1")
    assert gpus[0]["utilization_percent"] is None
    assert gpus[0]["memory_used_bytes"] == 4 * 2**30


@pytest.mark.parametrize(
    ("code", "wording"),
    [("9", "Driver Not Loaded"), ("18", "RM has detected an NVML/RM version mismatch.")],
)
def test_a_driver_that_does_not_start_is_null_with_its_reason(nvml_stub, code, wording):
    assert read(LD_LIBRARY_PATH=str(nvml_stub), NVML_STUB_INIT=code) == [None, wording]


def test_without_a_driver_there_are_no_gpus_and_a_reason():
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        pass
    else:
        pytest.skip("this machine has an NVIDIA driver")
    assert read() == [None, "NVML Shared Library Not Found"]


CHECKED = """
from weekahead.tracking.gpu import read_gpus
from weekahead.tracking.gpu_check import GpuCheck
check, (gpus, reason) = GpuCheck(), read_gpus()
check.see({"gpu": gpus, "gpu_reason": reason, "cpu_percent": None, "rss_bytes": 1})
print([check.warning(seconds) for seconds in (59.0, 61.0, 62.0)])
"""


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({}, ()),
        (
            {"NVML_STUB_NOUTIL": "1"},
            ("no GPU utilization after 61 s", "a MIG slice reports none", "goes on"),
        ),
        ({"NVML_STUB_INIT": "9"}, ("no GPU sample after 61 s (Driver Not Loaded; load the",)),
        ({"NVML_STUB_INIT": "18"}, ("version mismatch", "restart the machine")),
        ({"NVML_STUB_INIT": "12"}, ("NVML Shared Library Not Found", "compute,utility")),
        ({"CUDA_VISIBLE_DEVICES": "7"}, ("no GPU is visible (CUDA_VISIBLE_DEVICES='7')",)),
    ],
)
def test_missing_gpu_figures_are_told_once_with_the_reason(nvml_stub, variables, parts):
    done = run_python(CHECKED, LD_LIBRARY_PATH=str(nvml_stub), **variables)
    assert done.returncode == 0, done.stderr
    before, told, again = ast.literal_eval(done.stdout)
    assert before is None and again is None
    assert (told is None) == (not parts)
    assert all(part in told for part in parts), told


def test_energy_is_the_area_under_the_power_of_all_gpus():
    """100 W to 200 W over an hour is 150 Wh; a second card at 50 W adds 50, an unknown value 0."""

    def row(time, *powers):
        return {"time": time, "gpu": [{"power_watts": power} for power in powers]}

    rows = [row(0, 100.0, 50.0), {"time": 9}, row(3600, 200.0, 50.0), row(4000, None, None)]
    assert gpu_energy_wh(rows) == pytest.approx(200)
    assert gpu_energy_wh(rows[:2]) is None


@pytest.mark.parametrize("setting", ["", "-1", "7", "GPU-ffff"])
def test_the_reason_for_hidden_gpus_names_the_setting(nvml_stub, setting):
    gpus, reason = read(LD_LIBRARY_PATH=str(nvml_stub), CUDA_VISIBLE_DEVICES=setting)
    assert gpus is None
    assert f"CUDA_VISIBLE_DEVICES={setting!r}" in reason


def test_a_gpu_is_found_by_the_start_of_its_uuid(nvml_stub):
    gpus, _ = read(LD_LIBRARY_PATH=str(nvml_stub), CUDA_VISIBLE_DEVICES="GPU-5fb1")
    assert gpus[0]["name"] == "Stub T4"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,9,1", [0]),
        ("0,-1,1", [0]),
        ("GPU-aaaa", [0]),
        ("GPU-bb", []),
        ("GPU-bbcc,GPU-aaaa-1", [2, 0]),
        ("MIG-1234", ["MIG-1234"]),
        ("none", []),
    ],
)
def test_visible_devices_follow_cudas_rules(setting, expected):
    assert visible_devices(setting, UUIDS) == expected


CHECK = "from weekahead.tracking.gpu import check_torch_sees_gpu; check_torch_sees_gpu()"


def test_a_gpu_that_torch_cannot_see_is_an_error(nvml_stub):
    """The error names GPU, driver, build and remedy."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    done = run_python(CHECK, LD_LIBRARY_PATH=str(nvml_stub))
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    for part in (
        "RuntimeError",
        "Stub T4",
        "999.73",
        torch.__version__,
        "Remedy",
        "CUDA_VISIBLE_DEVICES= ",
    ):
        assert part in message


def test_a_hidden_gpu_means_the_cpu_by_choice(nvml_stub):
    done = run_python(CHECK, LD_LIBRARY_PATH=str(nvml_stub), CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_monitor_stopped_at_once_has_given_one_sample():
    samples = []
    monitor = SystemMonitor(samples.append, interval_seconds=60)
    monitor.start()
    monitor.stop()
    assert len(samples) == 1
    assert monitor.latest == samples[0]
    assert samples[0]["rss_bytes"] > 1_000_000
    assert (samples[0]["gpu"] is None) == (samples[0]["gpu_reason"] is not None)


def test_a_monitor_goes_on_until_it_is_stopped():
    samples, enough = [], threading.Event()

    def add(sample):
        samples.append(sample)
        if len(samples) == 3:
            enough.set()

    monitor = SystemMonitor(add, interval_seconds=0.01)
    monitor.start()
    assert enough.wait(30)
    monitor.stop()
    count = len(samples)
    time.sleep(0.1)
    assert len(samples) == count >= 3


def test_an_error_in_the_monitor_is_a_warning(caplog):
    def refuse(sample):
        raise OSError("no space left on device")

    monitor = SystemMonitor(refuse)
    monitor.start()
    monitor.stop()
    assert "system sampling ended: OSError: no space left on device" in caplog.text


def test_cpu_percent_is_of_one_core_and_counts_children():
    start = time.monotonic()
    meter = HostMeter()
    burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    percent = meter.read()["cpu_percent"]
    assert percent / 100 * (time.monotonic() - start) > 0.29
