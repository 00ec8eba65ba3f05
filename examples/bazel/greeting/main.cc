#include <iostream>

#include "greeting/phrases.h"

int main(int count, char** arguments) {
  std::cout << Phrases(count > 1 ? arguments[1] : "world");
  return 0;
}
