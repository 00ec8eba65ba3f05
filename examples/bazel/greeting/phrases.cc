#include "greeting/phrases.h"

#include "greeting/goodbye.h"
#include "greeting/hello.h"
#include "greeting/shout.h"
#include "greeting/whisper.h"

std::string Phrases(const std::string& name) {
  return Shout(Hello(name)) + "\n" + Whisper(Goodbye(name)) + "\n";
}
