# TensorFlow Lite Micro with CMSIS-NN as a library `tflm`, from the tree TFLM_DIR.
if(NOT EXISTS "${TFLM_DIR}/tensorflow/lite/micro/micro_interpreter.h")
  message(FATAL_ERROR "TFLM_DIR=${TFLM_DIR} holds no TensorFlow Lite Micro; README.md says how to get it.")
endif()
if(NOT EXISTS "${TFLM_DIR}/third_party/cmsis_nn/Include/arm_nnfunctions.h")
  message(FATAL_ERROR "TFLM_DIR=${TFLM_DIR} has no CMSIS-NN; write the tree with OPTIMIZED_KERNEL_DIR=cmsis_nn.")
endif()

set(lite "${TFLM_DIR}/tensorflow/lite")
file(GLOB tflm_sources CONFIGURE_DEPENDS "${lite}/*.cc" "${lite}/micro/*.cc")
foreach(folder core kernels schema micro/arena_allocator micro/memory_planner micro/tflite_bridge)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS "${lite}/${folder}/*.cc")
  list(APPEND tflm_sources ${found})
endforeach()
file(GLOB_RECURSE found CONFIGURE_DEPENDS "${TFLM_DIR}/tensorflow/compiler/*.cc")
list(APPEND tflm_sources ${found})
file(GLOB reference CONFIGURE_DEPENDS "${lite}/micro/kernels/*.cc")
file(GLOB optimized CONFIGURE_DEPENDS "${lite}/micro/kernels/cmsis_nn/*.cc")
# Of a kernel that is there twice, CMSIS-NN's.
foreach(source ${optimized})
  get_filename_component(name ${source} NAME)
  list(REMOVE_ITEM reference "${lite}/micro/kernels/${name}")
endforeach()
list(APPEND tflm_sources ${reference} ${optimized})
# The board's own takes its place; and what belongs to tests, or to ops outside the core.
list(FILTER tflm_sources EXCLUDE REGEX "/(debug_log|mock_micro_graph|fake_micro_context|kernel_runner|[^/]*test[^/]*)\\.cc$")
file(GLOB_RECURSE cmsis_nn CONFIGURE_DEPENDS "${TFLM_DIR}/third_party/cmsis_nn/Source/*.c")
list(FILTER cmsis_nn EXCLUDE REGEX "_f(16|32)\\.c$")  # need CMSIS-DSP, and no kernel calls them

add_library(tflm STATIC ${tflm_sources} ${cmsis_nn})
target_include_directories(tflm SYSTEM PUBLIC
  "${TFLM_DIR}"
  "${TFLM_DIR}/third_party/flatbuffers/include"
  "${TFLM_DIR}/third_party/gemmlowp"
  "${TFLM_DIR}/third_party/ruy"
  "${TFLM_DIR}/third_party/kissfft"
  "${TFLM_DIR}/third_party/cmsis/CMSIS/Core/Include"
  "${TFLM_DIR}/third_party/cmsis_nn"
  "${TFLM_DIR}/third_party/cmsis_nn/Include")
target_compile_definitions(tflm PUBLIC TF_LITE_STATIC_MEMORY CMSIS_NN TF_LITE_STRIP_ERROR_STRINGS)
target_compile_options(tflm PRIVATE -w -ffunction-sections -fdata-sections)
