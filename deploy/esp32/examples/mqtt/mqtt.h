// Decisions to an MQTT broker.
#ifndef MQTT_H_
#define MQTT_H_

#include "application.h"

// Connects to the network and the broker, again and again where that fails, and publishes each decision from a task of its own;
// false where there is no memory for it.
bool PublishDecisions(kser::Application* application);

#endif  // MQTT_H_
