#pragma once

#include <string>

// All phrases for one name, one per line.
std::string Phrases(const std::string& name);
