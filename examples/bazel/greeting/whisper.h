#pragma once

#include <string>

std::string Whisper(std::string text);
