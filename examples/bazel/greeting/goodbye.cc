#include "greeting/goodbye.h"

std::string Goodbye(const std::string& name) { return "Goodbye, " + name; }
