#include "serial_link.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>

namespace kser {
namespace {

// Of the frames and what is in them.
constexpr std::uint8_t kProtocolVersion = 1;

enum Type : std::uint8_t { kHello = 1, kReset, kSamples, kDecide, kFeatures, kInput, kClassify, kHeard, kRefused = 0x7f };

// Why a request was refused; a sentence follows.
enum Reason : std::uint8_t { kNoHello = 1, kBadRequest, kNoResult, kNoMicrophone };

// The processor's clock where the core says it when compiling, else 0.
#if defined(F_CPU)
constexpr std::uint32_t kCpuHz = F_CPU;
#else
constexpr std::uint32_t kCpuHz = 0;
#endif

constexpr int kOffsetBytes = 4;
constexpr int kPartBytes = kMaxPayloadBytes - kOffsetBytes;
// After the place of the first sample and whether a decision is due.
constexpr int kHeardSamples = (kMaxPayloadBytes - 4 - 1) / 2;

static_assert(10 + 5 * kNumClasses <= kMaxPayloadBytes, "a decision must fit into a frame");

}  // namespace

bool SerialLink::Poll() {
  bool whole = request_.HasFrame();
  // So many that a line that is never silent lets the caller go on.
  for (int i = 0; !whole && i < kMaxFrameBytes; ++i) {
    const int byte = read_();
    if (byte < 0) return false;
    request_.Add(static_cast<std::uint8_t>(byte));
    whole = request_.HasFrame();
  }
  if (!whole) return false;
  Answer();
  request_.Next();
  return true;
}

// The last answer still lies in answer_. A PC that has just begun to talk knows of none.
void SerialLink::Answer() {
  const bool repeated = greeted_ && request_.type() == last_type_ && request_.sequence() == last_sequence_;
  if (!repeated || request_.type() == kHello) {
    answer_.Begin(request_.type(), request_.sequence());
    Do();
    answer_.End();
  }
  last_type_ = request_.type();
  last_sequence_ = request_.sequence();
  for (int i = 0; i < answer_.size(); ++i) write_(answer_.bytes()[i]);
}

void SerialLink::Do() {
  if (!greeted_ && request_.type() != kHello) return Refuse(kNoHello, "The board has not been greeted since it started.");
  switch (request_.type()) {
    case kHello:
      return Hello();
    case kReset:
      return Reset();
    case kSamples:
      return TakeSamples();
    case kDecide:
      return Decide();
    case kFeatures:
      return SendFeatures();
    case kInput:
      return TakeInput();
    case kClassify:
      return Classify();
    case kHeard:
      return SendHeard();
    default:
      return Refuse(kBadRequest, "The board does not know this request.");
  }
}

void SerialLink::Refuse(std::uint8_t reason, const char* sentence) {
  answer_.Begin(kRefused, request_.sequence());
  answer_.Put8(reason);
  answer_.PutText(sentence);
}

bool SerialLink::Refused(Status status) {
  if (status == Status::kOk) return false;
  Refuse(kNoResult, StatusMessage(status));
  return true;
}

void SerialLink::Hello() {
  greeted_ = true;
  answer_.Put8(kProtocolVersion);
  answer_.Put32(kMetadataHash);
  for (int size : {kNumFrames, kNumMels, kNumClasses, kWindowSamples, kHopSamples}) {
    answer_.Put32(static_cast<std::uint32_t>(size));
  }
  answer_.Put32(static_cast<std::uint32_t>(classifier_->arena_used_bytes()));
  answer_.Put32(kCpuHz);
  answer_.PutText(kVersion);
}

// What the microphone has brought until now is old: its samples are sent from here on.
void SerialLink::Reset() {
  if (take_ != nullptr) {
    std::int16_t sample;
    Heard heard;
    do {
      heard = take_(microphone_, &sample, 1, &microphone_lost_);
    } while (heard.count != 0);
    next_heard_ = heard.first;
  }
  Forget();
}

void SerialLink::Forget() {
  for (std::int16_t sample; ring_.Read(&sample, 1);) {
  }
  classifier_->Reset();
  first_sample_ = ring_.sample_count();
}

// The samples heard since Reset come back, for the PC to see that all have arrived.
void SerialLink::TakeSamples() {
  const int count = request_.payload_bytes() / 2;
  if (request_.payload_bytes() % 2 != 0) return Refuse(kBadRequest, "A block holds whole samples of 16 bits.");
  std::int16_t samples[kBlockSamples];
  for (int i = 0; i < count; ++i) {
    samples[i] = static_cast<std::int16_t>(request_.payload()[2 * i] | request_.payload()[2 * i + 1] << 8);
  }
  ring_.Write(samples, static_cast<std::uint32_t>(count));
  const std::uint32_t begin = clock_();
  const Status status = classifier_->Listen(&ring_);
  const std::uint32_t spent = clock_() - begin;
  if (Refused(status)) return;
  answer_.Put32(ring_.sample_count() - first_sample_);
  answer_.Put32(spent);
}

void SerialLink::Decide() {
  if (classifier_->DecisionDue()) classifier_->stream().window().Quantize(values_);
  Decision decision;
  const std::uint32_t begin = clock_();
  const Status status = classifier_->Decide(&decision);
  const std::uint32_t spent = clock_() - begin;
  if (Refused(status)) return;
  // In silence, for which the model has not run, the PC compares its logits all the same.
  std::int8_t logits[kNumClasses];
  if (decision.label == kSilence && Refused(classifier_->Classify(values_, logits))) return;
  answer_.Put32(spent);
  answer_.Put8(static_cast<std::uint8_t>(decision.label));
  answer_.PutFloat(decision.loudest_dbfs);
  answer_.PutBytes(classifier_->logits(), kNumClasses);
  for (float probability : decision.probabilities) answer_.PutFloat(probability);
}

void SerialLink::SendFeatures() {
  const std::uint32_t offset = request_.payload_bytes() == kOffsetBytes ? request_.Get32(0) : kWindowValues;
  if (offset >= kWindowValues) return Refuse(kBadRequest, "No features are at this place.");
  answer_.Put32(offset);
  answer_.PutBytes(values_ + offset, std::min(kPartBytes, kWindowValues - static_cast<int>(offset)));
}

void SerialLink::TakeInput() {
  const int count = request_.payload_bytes() - kOffsetBytes;
  const std::uint32_t offset = count > 0 ? request_.Get32(0) : kWindowValues;
  if (offset >= kWindowValues || count > kWindowValues - static_cast<int>(offset)) {
    return Refuse(kBadRequest, "The model's input has no such place.");
  }
  std::memcpy(values_ + offset, request_.payload() + kOffsetBytes, static_cast<std::size_t>(count));
}

void SerialLink::Classify() {
  std::int8_t logits[kNumClasses];
  const std::uint32_t begin = clock_();
  const Status status = classifier_->Classify(values_, logits);
  const std::uint32_t spent = clock_() - begin;
  if (Refused(status)) return;
  answer_.Put32(spent);
  answer_.PutBytes(logits, kNumClasses);
}

// Samples of the microphone, which the classifier hears too, with the first one's place: what was lost leaves a gap in it.
void SerialLink::SendHeard() {
  if (take_ == nullptr) return Refuse(kNoMicrophone, "The board's microphone could not be started.");
  std::int16_t samples[kHeardSamples];
  const Heard heard = take_(microphone_, samples, kHeardSamples, &microphone_lost_);
  if (heard.first != next_heard_) Forget();
  next_heard_ = heard.first + heard.count;
  ring_.Write(samples, heard.count);
  if (Refused(classifier_->Listen(&ring_))) return;
  answer_.Put32(heard.first);
  answer_.Put8(classifier_->DecisionDue());
  for (std::uint32_t i = 0; i < heard.count; ++i) {
    const auto sample = static_cast<std::uint16_t>(samples[i]);
    answer_.Put8(sample & 0xffu);
    answer_.Put8(sample >> 8);
  }
}

}  // namespace kser
