//! CustomResourceDefinitions generated from the types in [`super::networking`].
