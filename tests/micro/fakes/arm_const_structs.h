#ifndef KSER_TESTS_MICRO_FAKES_ARM_CONST_STRUCTS_H_
#define KSER_TESTS_MICRO_FAKES_ARM_CONST_STRUCTS_H_

#include "arm_math.h"

const arm_cfft_instance_f32 arm_cfft_sR_f32_len256 = {256};
const arm_cfft_instance_f32 arm_cfft_sR_f32_len512 = {512};

#endif  // KSER_TESTS_MICRO_FAKES_ARM_CONST_STRUCTS_H_
