//! The input snapshot: every object that is read, from watches or from files.
