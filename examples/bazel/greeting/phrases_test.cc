#include "greeting/phrases.h"

int main() { return Phrases("crane") == "HELLO, CRANE!\n(Goodbye, crane)\n" ? 0 : 1; }
