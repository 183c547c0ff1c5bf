# Instruction sets of this architecture beyond the base one, and the flags of their units.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(NF_ISAS avx2 avx512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(NF_ISAS neon)
endif()
set(NF_FLAGS_avx2 -mavx2 -mfma)
set(NF_FLAGS_avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)
set(NF_FLAGS_neon "")
