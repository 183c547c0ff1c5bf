/* The declarations of the extension against those of an installed jaxlib: compiled, never run. */
#include <stddef.h>

#include "jax/xla.h"
#include "xla/ffi/api/c_api.h"

#define SAME(own, field, theirs, other)                                               \
    _Static_assert(offsetof(own, field) == offsetof(theirs, other), #own "." #field); \
    _Static_assert(sizeof(((own *)0)->field) == sizeof(((theirs *)0)->other), #own "." #field)
#define EQUAL(own, theirs) _Static_assert((int)(own) == (int)(theirs), #own)

SAME(xla_extension, struct_size, XLA_FFI_Extension_Base, struct_size);
SAME(xla_extension, type, XLA_FFI_Extension_Base, type);
SAME(xla_extension, next, XLA_FFI_Extension_Base, next);
SAME(xla_version, major, XLA_FFI_Api_Version, major_version);
SAME(xla_version, minor, XLA_FFI_Api_Version, minor_version);
SAME(xla_metadata, version, XLA_FFI_Metadata, api_version);
SAME(xla_metadata_extension, base, XLA_FFI_Metadata_Extension, extension_base);
SAME(xla_metadata_extension, metadata, XLA_FFI_Metadata_Extension, metadata);
SAME(xla_error_arguments, struct_size, XLA_FFI_Error_Create_Args, struct_size);
SAME(xla_error_arguments, extensions, XLA_FFI_Error_Create_Args, extension_start);
SAME(xla_error_arguments, message, XLA_FFI_Error_Create_Args, message);
SAME(xla_error_arguments, code, XLA_FFI_Error_Create_Args, errc);
SAME(xla_api, create_error, XLA_FFI_Api, XLA_FFI_Error_Create);
SAME(xla_buffer, type, XLA_FFI_Buffer, dtype);
SAME(xla_buffer, data, XLA_FFI_Buffer, data);
SAME(xla_buffer, rank, XLA_FFI_Buffer, rank);
SAME(xla_buffer, dims, XLA_FFI_Buffer, dims);
SAME(xla_array, type, XLA_FFI_Array, dtype);
SAME(xla_array, size, XLA_FFI_Array, size);
SAME(xla_array, data, XLA_FFI_Array, data);
SAME(xla_buffers, size, XLA_FFI_Args, size);
SAME(xla_buffers, types, XLA_FFI_Args, types);
SAME(xla_buffers, buffer, XLA_FFI_Args, args);
SAME(xla_buffers, size, XLA_FFI_Rets, size);
SAME(xla_buffers, types, XLA_FFI_Rets, types);
SAME(xla_buffers, buffer, XLA_FFI_Rets, rets);
SAME(xla_attributes, size, XLA_FFI_Attrs, size);
SAME(xla_attributes, types, XLA_FFI_Attrs, types);
SAME(xla_attributes, value, XLA_FFI_Attrs, attrs);
SAME(xla_frame, extensions, XLA_FFI_CallFrame, extension_start);
SAME(xla_frame, api, XLA_FFI_CallFrame, api);
SAME(xla_frame, stage, XLA_FFI_CallFrame, stage);
SAME(xla_frame, args, XLA_FFI_CallFrame, args);
SAME(xla_frame, rets, XLA_FFI_CallFrame, rets);
SAME(xla_frame, attributes, XLA_FFI_CallFrame, attrs);

EQUAL(XLA_EXTENSION_METADATA, XLA_FFI_Extension_Metadata);
EQUAL(XLA_ATTRIBUTE_ARRAY, XLA_FFI_AttrType_ARRAY);
EQUAL(XLA_PRED, XLA_FFI_DataType_PRED);
EQUAL(XLA_S8, XLA_FFI_DataType_S8);
EQUAL(XLA_S16, XLA_FFI_DataType_S16);
EQUAL(XLA_S32, XLA_FFI_DataType_S32);
EQUAL(XLA_S64, XLA_FFI_DataType_S64);
EQUAL(XLA_U8, XLA_FFI_DataType_U8);
EQUAL(XLA_U16, XLA_FFI_DataType_U16);
EQUAL(XLA_U32, XLA_FFI_DataType_U32);
EQUAL(XLA_U64, XLA_FFI_DataType_U64);
EQUAL(XLA_F16, XLA_FFI_DataType_F16);
EQUAL(XLA_F32, XLA_FFI_DataType_F32);
EQUAL(XLA_F64, XLA_FFI_DataType_F64);
EQUAL(XLA_CANCELLED, XLA_FFI_Error_Code_CANCELLED);
EQUAL(XLA_INVALID_ARGUMENT, XLA_FFI_Error_Code_INVALID_ARGUMENT);
EQUAL(XLA_RESOURCE_EXHAUSTED, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
EQUAL(XLA_OUT_OF_RANGE, XLA_FFI_Error_Code_OUT_OF_RANGE);
EQUAL(XLA_UNIMPLEMENTED, XLA_FFI_Error_Code_UNIMPLEMENTED);
EQUAL(XLA_INTERNAL, XLA_FFI_Error_Code_INTERNAL);
EQUAL(XLA_VERSION_MAJOR, XLA_FFI_API_MAJOR);
_Static_assert(XLA_VERSION_MINOR <= XLA_FFI_API_MINOR, "the version that the handlers report");
