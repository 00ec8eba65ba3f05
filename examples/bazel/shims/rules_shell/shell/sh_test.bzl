"""The rule of rules_shell that this project loads, as the built-in one."""

def sh_test(**attributes):
    native.sh_test(**attributes)
