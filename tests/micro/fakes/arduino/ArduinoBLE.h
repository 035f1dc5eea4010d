// What the example uses of the library ArduinoBLE.
#ifndef KSER_TESTS_MICRO_FAKES_ARDUINO_BLE_H_
#define KSER_TESTS_MICRO_FAKES_ARDUINO_BLE_H_

#include <cstdint>

enum BLEProperty { BLERead = 2, BLENotify = 16 };

class BLECharacteristic {
 public:
  BLECharacteristic(const char* uuid, std::uint16_t permissions, int value_size, bool fixed_length = false);
  int writeValue(const std::uint8_t value[], int length, bool with_response = true);
  int writeValue(const char* value, bool with_response = true);
};

class BLEService {
 public:
  explicit BLEService(const char* uuid);
  void addCharacteristic(BLECharacteristic& characteristic);
};

class BLELocalDevice {
 public:
  int begin();
  void poll();
  void setLocalName(const char* name);
  bool setAdvertisedService(const BLEService& service);
  void addService(BLEService& service);
  int advertise();
};

extern BLELocalDevice& BLE;

#endif  // KSER_TESTS_MICRO_FAKES_ARDUINO_BLE_H_
