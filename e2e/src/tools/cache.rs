//! The directory of finished programs, and the lock that keeps two processes from making one at once.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::progress::{Progress, step};

/// `outrigger` in the user's cache directory: `$XDG_CACHE_HOME`, else `~/.cache`.
pub(crate) fn directory() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => Ok(cache.join("outrigger")),
        (None, Some(home)) => Ok(home.join(".cache/outrigger")),
        (None, None) => {
            bail!("no cache directory: neither XDG_CACHE_HOME nor HOME is an absolute path")
        }
    }
}

/// Makes `directory/name` by `make`, which writes the path it is given, unless another process made it
/// while this one waited for the lock. The file appears whole or not at all.
pub(crate) fn produce(
    directory: &Path,
    name: &str,
    progress: &dyn Progress,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let context = || format!("cache directory {}", directory.display());
    fs::create_dir_all(directory).with_context(context)?;
    // Held until this function returns.
    let lock = File::create(directory.join(".lock")).with_context(context)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            step(
                progress,
                "programs are being built elsewhere: waited",
                || lock.lock(),
            )
            .with_context(context)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    }
    let file = directory.join(name);
    if file.is_file() {
        return Ok(());
    }
    let partial = directory.join(format!(".{name}.partial"));
    step(progress, &format!("build {name}"), || make(&partial))?;
    fs::rename(&partial, &file).with_context(context)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::progress::Quiet;

    #[test]
    fn file_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        produce(&bin, "etcd", &Quiet, |path| Ok(fs::write(path, "first")?)).unwrap();
        produce(&bin, "etcd", &Quiet, |_| Err(anyhow!("made twice"))).unwrap();
        assert_eq!(fs::read_to_string(bin.join("etcd")).unwrap(), "first");
    }

    #[test]
    fn failed_build_leaves_nothing_that_looks_finished() {
        let dir = tempfile::tempdir().unwrap();
        let half = |path: &Path| {
            fs::write(path, "half")?;
            Err(anyhow!("compiler ended"))
        };
        produce(dir.path(), "etcd", &Quiet, half).unwrap_err();
        assert!(!dir.path().join("etcd").exists());
    }
}
