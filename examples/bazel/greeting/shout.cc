#include "greeting/shout.h"

#include <cctype>

std::string Shout(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return text + "!";
}
