#pragma once

#include <string>

std::string Shout(std::string text);
