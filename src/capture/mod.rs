//! Traffic capture: settings to rules to text.
