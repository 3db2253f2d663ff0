//! The images of the cluster itself, from the programs that were built for it.

use std::path::PathBuf;

use anyhow::Result;

use super::{Image, oci};
use crate::progress::Progress;
use crate::tools::{Tools, cache};

/// The references of the images that the node's configuration names: `local.test/NAME:1`.
const NAMES: [&str; 2] = ["pause", "coredns"];

/// The archives of the pause container and of CoreDNS, made where they are missing.
pub(crate) fn archives(tools: &Tools, progress: &dyn Progress) -> Result<Vec<PathBuf>> {
    let directory = tools.bin().with_file_name("images");
    let archive = |name: &'static str| {
        let file = format!("{name}.tar");
        if !directory.join(&file).is_file() {
            cache::produce(&directory, &file, progress, |partial| {
                let mut image = Image::new(name, &format!("/{name}"), "65535:65535");
                image.program(&format!("/{name}"), &tools.path(name))?;
                oci::write(&image, &format!("local.test/{name}:1"), partial)
            })?;
        }
        Ok(directory.join(file))
    };
    NAMES.into_iter().map(archive).collect()
}
