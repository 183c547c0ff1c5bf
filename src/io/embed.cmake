# nf_embed(<file> <symbol> <out>): a C source with the bytes of <file> as <symbol> and their number
# as <symbol>_size. Made at configure time by CMake alone, so it works when cross compiling; a
# change of the file configures again.
function(nf_embed file symbol out)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)"
         "\\1\n" bytes "${bytes}")
  file(CONFIGURE OUTPUT ${out} @ONLY CONTENT
"#include <stddef.h>
extern const unsigned char @symbol@[];
extern const size_t @symbol@_size;
const unsigned char @symbol@[] = {
@bytes@
};
const size_t @symbol@_size = sizeof @symbol@;
")
endfunction()
