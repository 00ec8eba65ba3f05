#include "greeting/hello.h"

std::string Hello(const std::string& name) { return "Hello, " + name; }
