//! Outrigger's images for a local cluster: built from the source tree, loaded without a registry.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{bookinfo, content_hash, oci, outriggerd, proxyv2, workload};
use crate::binaries::{self, SOURCE};
use crate::progress::{Progress, step};
use crate::tools::envoy;

/// The registry part of the images' names. Nothing answers there: a cluster has to have them loaded.
pub const HUB: &str = "local.test";

/// Images that were built, as archives to load.
#[derive(Clone, Debug)]
pub struct Local {
    /// The tag they share; another content has another one.
    pub tag: String,
    /// An OCI archive for each.
    pub archives: Vec<PathBuf>,
}

impl Local {
    /// The full name of the image `name`.
    pub fn reference(&self, name: &str) -> String {
        format!("{HUB}/{name}:{}", self.tag)
    }
}

/// Builds the programs, and the images from them unless the same are there already.
///
/// # Errors
/// A program can't be built or downloaded, or an image not be written.
pub fn build(progress: &dyn Progress) -> Result<Local> {
    let programs = binaries::build(progress)?;
    let envoy = envoy::path(progress)?;
    step(progress, "make images", || {
        let images = [
            outriggerd(&programs.outriggerd())?,
            proxyv2(&envoy, &programs.agent())?,
            bookinfo(&programs.bookinfo())?,
            workload(&programs.workload())?,
        ];
        let tag = content_hash(&images)?;
        let all = Path::new(SOURCE).join("target/images");
        let directory = all.join(&tag);
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        forget_others(&all, &tag)?;
        let mut local = Local {
            tag,
            archives: Vec::new(),
        };
        for image in &images {
            let archive = directory.join(format!("{}.tar", image.name));
            if !archive.is_file() {
                oci::write(image, &local.reference(image.name), &archive)?;
            }
            local.archives.push(archive);
        }
        Ok(local)
    })
}

/// Archives of earlier contents: a hundred megabytes each, and of no use once the programs have changed.
fn forget_others(all: &Path, tag: &str) -> Result<()> {
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        if !path.ends_with(tag) {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
