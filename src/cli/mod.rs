//! The command line: argument types and output.
