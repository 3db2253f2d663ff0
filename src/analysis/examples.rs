//! A small manifest for each code that yields it: for `outrigger explain CODE`, `docs/diagnostics.md` and the tests.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;

use crate::world::{SecretAccess, World};

macro_rules! examples {
    ($($code:literal)*) => {
        /// Code and manifest, in the order of the codes.
        pub static EXAMPLES: &[(&str, &str)] = &[
            $(($code, include_str!(concat!("examples/", $code, ".yaml"))),)*
        ];
    };
}

examples! {
    "IST0002" "IST0101" "IST0102" "IST0103" "IST0106" "IST0107" "IST0108" "IST0109" "IST0110" "IST0111" "IST0112"
    "IST0116" "IST0118" "IST0123" "IST0125" "IST0127" "IST0128" "IST0129" "IST0130" "IST0131" "IST0132" "IST0133"
    "IST0134" "IST0135" "IST0137" "IST0138" "IST0139" "IST0140" "IST0144" "IST0145" "IST0146" "IST0147" "IST0148"
    "IST0149" "IST0150" "IST0151" "IST0152" "IST0153" "IST0154" "IST0155" "IST0157" "IST0158" "IST0159" "IST0160"
    "IST0161" "IST0162" "IST0163" "IST0164" "IST0165" "IST0166" "IST0167" "IST0171" "IST0173" "IST0174" "IST0175"
    "IST0176" "IST0177" "ORG0001" "ORG0002" "ORG0003" "ORG0010" "ORG0011" "ORG0012" "ORG0013" "ORG0014" "ORG0015"
    "ORG0016" "ORG0020" "ORG0021" "ORG0022" "ORG0023" "ORG0024" "ORG0025" "ORG0026" "ORG0027" "ORG0028"
    "ORG0029" "ORG0030" "ORG0031"
}

/// The example of a code.
pub fn example(code: &str) -> Option<&'static str> {
    EXAMPLES
        .iter()
        .find(|(of, _)| *of == code)
        .map(|(_, manifest)| *manifest)
}

/// The World that examples are for: it is the first of January 2030, and Secrets are read in most namespaces.
pub fn world() -> World {
    /// 2030-01-01T00:00:00Z, in seconds since 1970.
    const DAY: i64 = 1_893_456_000;
    let read =
        ["default", "istio-system", "web"].map(|namespace| (Arc::<str>::from(namespace), true));
    let mut world = World::default().at(Timestamp::from_second(DAY).unwrap_or_default());
    world.set_secret_access(SecretAccess::In(OrdMap::from_iter(read)));
    world
}
