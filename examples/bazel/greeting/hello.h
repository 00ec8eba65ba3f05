#pragma once

#include <string>

std::string Hello(const std::string& name);
