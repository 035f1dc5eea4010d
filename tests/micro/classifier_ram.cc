// As much zeroed data as a classifier takes.
#include "emotion_classifier.h"

alignas(kser::EmotionClassifier) unsigned char classifier[sizeof(kser::EmotionClassifier)];
