# Install rules: libraries, headers, CMake package, pkg-config file, licence.
include(CMakePackageConfigHelpers)
set(NF_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/nearfar)

install(TARGETS nearfar EXPORT nearfarTargets)
install(TARGETS nearfar_static EXPORT nearfarStaticTargets)
install(EXPORT nearfarTargets NAMESPACE nearfar:: DESTINATION ${NF_PACKAGE_DIR})
install(EXPORT nearfarStaticTargets NAMESPACE nearfar:: DESTINATION ${NF_PACKAGE_DIR})
install(DIRECTORY include/nearfar DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING
        PATTERN "*.h")
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(cmake/nearfarConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/nearfarConfig.cmake
                              INSTALL_DESTINATION ${NF_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nearfarConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nearfarConfig.cmake
              ${PROJECT_BINARY_DIR}/nearfarConfigVersion.cmake
        DESTINATION ${NF_PACKAGE_DIR})

# The .pc files hold the prefix of the install, which may be given only then. The static one is apart
# because pkg-config --static nearfar asks for everything that a static libzip would need.
install(CODE "
  set(PROJECT_NAME \"${PROJECT_NAME}\")
  set(PROJECT_DESCRIPTION \"${PROJECT_DESCRIPTION}\")
  set(PROJECT_VERSION \"${PROJECT_VERSION}\")
  set(CMAKE_INSTALL_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
  set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
  foreach(name nearfar nearfar-static)
    configure_file(\"${PROJECT_SOURCE_DIR}/cmake/\${name}.pc.in\"
                   \"${PROJECT_BINARY_DIR}/\${name}.pc\" @ONLY)
  endforeach()")
install(FILES ${PROJECT_BINARY_DIR}/nearfar.pc ${PROJECT_BINARY_DIR}/nearfar-static.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
