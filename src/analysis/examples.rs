//! A small manifest for each code that yields it: for `outrigger explain CODE`, `docs/diagnostics.md` and the tests.

macro_rules! examples {
    ($($code:literal)*) => {
        /// Code and manifest, in the order of the codes.
        pub static EXAMPLES: &[(&str, &str)] = &[
            $(($code, include_str!(concat!("examples/", $code, ".yaml"))),)*
        ];
    };
}

examples! {
    "IST0101" "IST0106" "IST0109" "IST0110" "IST0111" "IST0112" "IST0128" "IST0129" "IST0130" "IST0131" "IST0132"
    "IST0133" "IST0134" "IST0145" "IST0162" "IST0165" "IST0174" "ORG0001" "ORG0002"
    "ORG0003"
}

/// The example of a code.
pub fn example(code: &str) -> Option<&'static str> {
    EXAMPLES
        .iter()
        .find(|(of, _)| *of == code)
        .map(|(_, manifest)| *manifest)
}
