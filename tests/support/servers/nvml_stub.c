/* A stand-in for libnvidia-ml.so.1 with one card, for machines that have none. It proves that our reading goes
 * through the driver's real binary interface; it says nothing about a real card.
 * NVML_STUB_INIT=<code> makes initialization fail; NVML_STUB_NOUTIL=1 answers NotSupported as a MIG slice does, and
 * says that the card is cut into slices. */
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
int nvmlDeviceIsMigDeviceHandle(void *device, unsigned int *is) { (void)device; *is = 0; return SUCCESS; }
int nvmlDeviceGetMigMode(void *device, unsigned int *now, unsigned int *pending) {
    (void)device;
    *now = *pending = getenv("NVML_STUB_NOUTIL") != NULL;
    return SUCCESS;
}

/* What the W&B client's own reader asks for beyond that. */
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12040; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return nvmlSystemGetCudaDriverVersion(version); }
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory2;
int nvmlDeviceGetMemoryInfo_v2(void *device, memory2 *info) {
    memory plain;
    nvmlDeviceGetMemoryInfo(device, &plain);
    info->total = plain.total; info->reserved = 0; info->free = plain.free; info->used = plain.used;
    return SUCCESS;
}
