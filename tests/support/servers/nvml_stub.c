/* A stand-in for libnvidia-ml.so.1 with one card, for machines that have none. It proves that our reading goes
 * through the driver's real binary interface; it says nothing about a real card.
 * NVML_STUB_INIT=<code> makes initialization fail; NVML_STUB_NOUTIL=1 answers NotSupported as a MIG slice does. */
#include <stdio.h>
#include <stdlib.h>

typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
static const char UUID[] = "GPU-5fb1ab2c-0000-4000-8000-000000000073";
static int card;

static int text(char *to, unsigned int size, const char *from) { snprintf(to, size, "%s", from); return SUCCESS; }

int nvmlInitWithFlags(unsigned int flags) { (void)flags; char *code = getenv("NVML_STUB_INIT"); return code ? atoi(code) : SUCCESS; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "stub error"; }
int nvmlSystemGetDriverVersion(char *to, unsigned int size) { return text(to, size, "999.73"); }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = &card; return index ? INVALID_ARGUMENT : SUCCESS; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { (void)uuid; (void)device; return NOT_FOUND; }
int nvmlDeviceGetUUID(void *device, char *to, unsigned int size) { (void)device; return text(to, size, UUID); }
int nvmlDeviceGetName(void *device, char *to, unsigned int size) { (void)device; return text(to, size, "Stub T4"); }
int nvmlDeviceGetIndex(void *device, unsigned int *index) { (void)device; *index = 0; return SUCCESS; }
int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) { (void)device; *milliwatts = 65500; return SUCCESS; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *celsius) { (void)device; (void)sensor; *celsius = 61; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *device, memory *info) {
    (void)device;
    info->total = 15360ULL << 20; info->used = 4096ULL << 20; info->free = info->total - info->used;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, utilization *rates) {
    (void)device;
    if (getenv("NVML_STUB_NOUTIL")) return NOT_SUPPORTED;
    rates->gpu = 73; rates->memory = 20;
    return SUCCESS;
}
