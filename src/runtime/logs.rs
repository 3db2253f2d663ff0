//! Log output: text or JSON.
