#include "greeting/whisper.h"

std::string Whisper(std::string text) { return "(" + text + ")"; }
