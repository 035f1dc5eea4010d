// By this header Arduino tools find the library.
#include <Arduino.h>
