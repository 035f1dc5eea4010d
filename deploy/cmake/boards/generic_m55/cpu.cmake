set(cpu_flags "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard")
