"""Loaded by Debian's rules_java; nothing in this project calls what it would hold."""
