// Emotions in speech as a sensor of Home Assistant, over Wi-Fi and MQTT: see README.md beside this file.
#include "mqtt.h"

#include <cstdio>
#include <cstring>

#include "esp_event.h"
#include "esp_mac.h"
#include "esp_netif.h"
#include "esp_wifi.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/task.h"
#include "mqtt_client.h"
#include "nvs_flash.h"

static constexpr uint32_t kStackBytes = 4096;
static constexpr UBaseType_t kPriority = 3;  // Above the main task's, which the model keeps busy; it mostly waits.

static QueueHandle_t decisions;
static esp_mqtt_client_handle_t client;
static char device[16];  // "kser_" and the end of the MAC address.

// --- Wi-Fi

static void OnWifi(void*, esp_event_base_t base, int32_t event, void*) {
  if (base == WIFI_EVENT && (event == WIFI_EVENT_STA_START || event == WIFI_EVENT_STA_DISCONNECTED)) esp_wifi_connect();
}

static void StartWifi() {
  if (nvs_flash_init() != ESP_OK) {
    ESP_ERROR_CHECK(nvs_flash_erase());
    ESP_ERROR_CHECK(nvs_flash_init());
  }
  ESP_ERROR_CHECK(esp_netif_init());
  ESP_ERROR_CHECK(esp_event_loop_create_default());
  esp_netif_create_default_wifi_sta();
  const wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
  ESP_ERROR_CHECK(esp_wifi_init(&init));
  ESP_ERROR_CHECK(esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, OnWifi, nullptr));
  wifi_config_t config = {};
  std::snprintf(reinterpret_cast<char*>(config.sta.ssid), sizeof(config.sta.ssid), "%s", CONFIG_KSER_WIFI_NAME);
  std::snprintf(reinterpret_cast<char*>(config.sta.password), sizeof(config.sta.password), "%s", CONFIG_KSER_WIFI_PASSWORD);
  ESP_ERROR_CHECK(esp_wifi_set_mode(WIFI_MODE_STA));
  ESP_ERROR_CHECK(esp_wifi_set_config(WIFI_IF_STA, &config));
  ESP_ERROR_CHECK(esp_wifi_start());
}

// --- MQTT

// Home Assistant finds the sensor by this message, which the broker keeps.
static void Announce() {
  char topic[64], message[512];
  std::snprintf(topic, sizeof(topic), "homeassistant/sensor/%s/config", device);
  std::snprintf(message, sizeof(message),
                "{\"name\":\"Emotion\",\"unique_id\":\"%s\",\"icon\":\"mdi:account-voice\",\"state_topic\":\"%s/state\","
                "\"value_template\":\"{{ value_json.label }}\",\"json_attributes_topic\":\"%s/state\","
                "\"availability_topic\":\"%s/available\",\"device\":{\"identifiers\":[\"%s\"],\"name\":\"Speech emotion\","
                "\"manufacturer\":\"kser\"}}",
                device, device, device, device, device);
  esp_mqtt_client_publish(client, topic, message, 0, 1, 1);
  std::snprintf(topic, sizeof(topic), "%s/available", device);
  esp_mqtt_client_publish(client, topic, "online", 0, 1, 1);
}

static void OnMqtt(void*, esp_event_base_t, int32_t event, void*) {
  if (event == MQTT_EVENT_CONNECTED) Announce();
}

static void StartMqtt() {
  uint8_t mac[6];
  ESP_ERROR_CHECK(esp_read_mac(mac, ESP_MAC_WIFI_STA));
  std::snprintf(device, sizeof(device), "kser_%02x%02x%02x", mac[3], mac[4], mac[5]);
  static char will[32];
  std::snprintf(will, sizeof(will), "%s/available", device);
  esp_mqtt_client_config_t config = {};
  config.broker.address.uri = CONFIG_KSER_MQTT_BROKER;
  config.session.last_will.topic = will;
  config.session.last_will.msg = "offline";
  config.session.last_will.qos = 1;
  config.session.last_will.retain = 1;
  client = esp_mqtt_client_init(&config);
  ESP_ERROR_CHECK(esp_mqtt_client_register_event(client, MQTT_EVENT_ANY, OnMqtt, nullptr));
  ESP_ERROR_CHECK(esp_mqtt_client_start(client));
}

// --- Decisions

// In the main task, which must not wait for the network: only the newest decision is kept for the one below.
static void Keep(const kser::Decision& decision, void*) { xQueueOverwrite(decisions, &decision); }

static void Publish(void*) {
  kser::Decision decision;
  char topic[32];
  std::snprintf(topic, sizeof(topic), "%s/state", device);
  for (;;) {
    xQueueReceive(decisions, &decision, portMAX_DELAY);
    char message[64 + 40 * kser::kNumClasses];
    const char* const label = decision.label == kser::kSilence ? "silence" : kser::kLabels[decision.label];
    int size = std::snprintf(message, sizeof(message), "{\"label\":\"%s\"", label);
    for (int i = 0; i < kser::kNumClasses && size < static_cast<int>(sizeof(message)); ++i) {
      size += std::snprintf(message + size, sizeof(message) - static_cast<size_t>(size), ",\"%s\":%.3f", kser::kLabels[i],
                            static_cast<double>(decision.probabilities[i]));
    }
    if (size + 1 < static_cast<int>(sizeof(message))) {
      std::strcpy(message + size, "}");
      esp_mqtt_client_publish(client, topic, message, 0, 0, 0);
    }
  }
}

bool PublishDecisions(kser::Application* application) {
  StartWifi();
  StartMqtt();
  decisions = xQueueCreate(1, sizeof(kser::Decision));
  if (decisions == nullptr) return false;
  application->OnDecision(Keep);
  return xTaskCreate(Publish, "publish", kStackBytes, nullptr, kPriority, nullptr) == pdPASS;
}
