#include "greeting/shout.h"

int main() { return Shout("heave") == "HEAVE!" ? 0 : 1; }
