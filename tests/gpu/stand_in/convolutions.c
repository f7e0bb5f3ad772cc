// cuDNN's graph interface, by which torch computes convolutions: one engine, that needs no memory and is counted.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
void stub_launch(const char *name, void *stream);
int cudnnGetStream(void *handle, void **stream);
enum { ENGINES_FOUND = 202, ENGINE_GLOBAL_INDEX = 1301, WORKSPACE = 402, ENGINE_OF_CONFIG = 300 }; // CUDNN_ATTR_...
enum { INT64 = 3, DESCRIPTOR = 15 };                                                               // CUDNN_TYPE_...
typedef struct {
    int kind;
} Descriptor;
int cudnnBackendCreateDescriptor(int kind, Descriptor **made) {
    *made = calloc(1, sizeof(Descriptor));
    (*made)->kind = kind;
    return 0;
}
int cudnnBackendDestroyDescriptor(Descriptor *descriptor) {
    free(descriptor);
    return 0;
}
int cudnnBackendGetAttribute(Descriptor *descriptor, int name, int type, int64_t asked, int64_t *count, void *values) {
    int one = name == ENGINES_FOUND || name == WORKSPACE || name == ENGINE_GLOBAL_INDEX || name == ENGINE_OF_CONFIG;
    if (count) *count = one;
    if (one && type == INT64 && values && asked > 0) memset(values, 0, sizeof(int64_t));
    return 0;
}
int cudnnBackendExecute(void *handle, Descriptor *plan, Descriptor *values) {
    void *stream;
    cudnnGetStream(handle, &stream);
    stub_launch("cudnnBackendExecute", stream);
    return 0;
}
