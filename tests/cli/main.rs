//! Black-box tests of the commands that need no privileges.
