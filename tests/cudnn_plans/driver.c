// Stands in for the CUDA driver where cuDNN builds plans without a GPU: cuDNN looks these up, loads what it has
// compiled, and never runs it. All succeed; there is no device.
#define CU_CALL(name) \
  int name(void) { return 0; }
#define CU_MAKES(name) /* a handle, in the first argument */ \
  int name(void** made) {                                    \
    *made = (void*)16;                                       \
    return 0;                                                \
  }
#define CU_TEXT(name)                  \
  int name(int code, const char** s) { \
    (void)code;                        \
    *s = "stand-in driver";            \
    return 0;                          \
  }

enum { kNoDevice = 100, kDriverVersion = 13000 };

int cuInit(unsigned flags) { return (void)flags, kNoDevice; }
int cuDeviceGetCount(int* count) { return *count = 0, kNoDevice; }
int cuDriverGetVersion(int* version) { return *version = kDriverVersion, 0; }
CU_TEXT(cuGetErrorName)
CU_TEXT(cuGetErrorString)
CU_MAKES(cuLibraryLoadData)
CU_MAKES(cuLibraryGetKernel)
CU_CALL(cuCtxGetCurrent)
CU_CALL(cuCtxGetDevice)
CU_CALL(cuCtxGetLimit)
CU_CALL(cuCtxPopCurrent)
CU_CALL(cuCtxPushCurrent)
CU_CALL(cuDeviceGet)
CU_CALL(cuDeviceGetAttribute)
CU_CALL(cuDevicePrimaryCtxRelease)
CU_CALL(cuDevicePrimaryCtxReset)
CU_CALL(cuDevicePrimaryCtxRetain)
CU_CALL(cuFuncGetAttribute)
CU_CALL(cuFuncSetAttribute)
CU_CALL(cuKernelGetAttribute)
CU_CALL(cuKernelSetAttribute)
CU_CALL(cuLaunchCooperativeKernel)
CU_CALL(cuLaunchKernel)
CU_CALL(cuLaunchKernelEx)
CU_CALL(cuLibraryLoadFromFile)
CU_CALL(cuLibraryUnload)
CU_CALL(cuLinkAddData)
CU_CALL(cuLinkAddData_v2)
CU_CALL(cuLinkAddFile_v2)
CU_CALL(cuLinkComplete)
CU_CALL(cuLinkCreate)
CU_CALL(cuLinkCreate_v2)
CU_CALL(cuLinkDestroy)
CU_CALL(cuMemcpyDtoH_v2)
CU_CALL(cuModuleGetFunction)
CU_CALL(cuModuleGetGlobal_v2)
CU_CALL(cuModuleLoadData)
CU_CALL(cuModuleLoadDataEx)
CU_CALL(cuModuleLoadFatBinary)
CU_CALL(cuModuleUnload)
CU_CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor)
CU_CALL(cuOccupancyMaxPotentialClusterSize)
CU_CALL(cuStreamGetCtx)
CU_CALL(cuStreamSynchronize)
CU_CALL(cuTensorMapEncodeTiled)
