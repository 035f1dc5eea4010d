// Emotions in speech over Bluetooth Low Energy: copy this over speech_emotion/speech_emotion.ino, and install the library
// ArduinoBLE. A phone with an app such as nRF Connect finds the board as "kser" and subscribes to the label and the scores.
#include <ArduinoBLE.h>
#include <Chirale_TensorFlowLite.h>

#include "board.h"
#include "src/kser_micro/application.h"

constexpr int kMaxLabelBytes = 20;  // Of a notification.

static BLEService service("6b736572-0001-4000-8000-00805f9b34fb");
// The label, UTF-8; "silence" below the silence level.
static BLECharacteristic label("6b736572-0002-4000-8000-00805f9b34fb", BLERead | BLENotify, kMaxLabelBytes);
// A byte for each label, in the order of kLabels: its score in percent.
static BLECharacteristic scores("6b736572-0003-4000-8000-00805f9b34fb", BLERead | BLENotify, kser::kNumClasses, true);

static void PrintText(const char* text) { Serial.print(text); }

static uint32_t Microseconds() { return micros(); }

static kser::Application application({PrintText, Microseconds, ShowLabel, Sleep});

static void Notify(const kser::Decision& decision, void*) {
  label.writeValue(decision.label == kser::kSilence ? "silence" : kser::kLabels[decision.label]);
  uint8_t percent[kser::kNumClasses];
  for (int i = 0; i < kser::kNumClasses; ++i) percent[i] = static_cast<uint8_t>(decision.probabilities[i] * 100.0f + 0.5f);
  scores.writeValue(percent, kser::kNumClasses);
}

static bool StartBluetooth() {
  if (!BLE.begin()) return false;
  BLE.setLocalName("kser");
  BLE.setAdvertisedService(service);
  service.addCharacteristic(label);
  service.addCharacteristic(scores);
  BLE.addService(service);
  return BLE.advertise() == 1;
}

void setup() {
  Serial.begin(115200);
  SetUpLed();
  application.OnDecision(Notify);
  if (!application.SetUp()) return;
  if (!StartBluetooth()) application.Report("Bluetooth could not be started.");
  application.OnMicrophone(StartMicrophone(&application));
}

void loop() {
  BLE.poll();
  application.Poll();
}
