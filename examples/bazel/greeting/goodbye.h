#pragma once

#include <string>

std::string Goodbye(const std::string& name);
