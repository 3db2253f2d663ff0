//! The directory of a cluster: everything it writes, and the lock that says it lives.
//!
//! `/var/tmp/outrigger-UID/KIND-NUMBER`, private to the user. The lock is a `flock` on the directory itself,
//! held by the process that claimed it and, handed on, by the processes of the cluster: a directory whose
//! lock is free belongs to a cluster that is dead, however it died, and may be cleared by anyone.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Clusters of one kind on one machine.
const MOST: u8 = 250;

/// Removes a directory, given its number, with what belongs to its cluster elsewhere.
pub(super) type Clear = fn(&Path, u8) -> Result<()>;

/// A claimed directory. Whoever holds `lock` open keeps the claim. Dropping it clears the directory, unless
/// that was handed over to processes.
#[derive(Debug)]
pub(super) struct StateDir {
    /// Where it is.
    pub path: PathBuf,
    /// Distinguishes this cluster from others of its kind on this machine.
    pub number: u8,
    /// The open, locked directory.
    pub lock: File,
    /// None once somebody else clears.
    clear: Option<Clear>,
}

impl StateDir {
    /// Leaves the clearing to processes that hold the lock from now on.
    pub fn hand_over(&mut self) {
        self.clear = None;
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if let Some(clear) = self.clear {
            // An error here has no one to go to; what is left is cleared by the next start.
            let _ = clear(&self.path, self.number);
        }
    }
}

/// Claims the first free number of `kind` for which `usable` answers true, after clearing what dead clusters
/// of this kind left.
pub(super) fn claim(kind: &str, clear: Clear, usable: impl Fn(u8) -> bool) -> Result<StateDir> {
    // What resists keeps its number, and whoever takes clusters down is told why.
    let _ = clear_dead(kind, clear);
    let base = base();
    for number in (1..=MOST).filter(|&number| usable(number)) {
        let path = base.join(format!("{kind}-{number}"));
        private_directory(&base)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            // Another cluster's; or the last one has just removed `base`.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) =>
            {
                continue;
            }
            created => created.with_context(|| path.display().to_string())?,
        }
        // None: somebody took the new directory for that of a dead cluster.
        let Some(lock) = try_lock(&path)? else {
            continue;
        };
        for child in ["log", "run", "scripts"] {
            private_directory(&path.join(child))?;
        }
        return Ok(StateDir {
            path,
            number,
            lock,
            clear: Some(clear),
        });
    }
    bail!("{MOST} clusters of kind {kind} are running")
}

/// Removes what dead clusters of `kind` left.
pub(super) fn clear_dead(kind: &str, clear: Clear) -> Result<()> {
    for found in list(kind)? {
        // Held while clearing, so that only one process clears.
        if let Some(_lock) = try_lock(&found.path)? {
            clear(&found.path, found.number)?;
        }
    }
    Ok(())
}

/// The directories of `kind` on this machine with their numbers.
pub(super) fn list(kind: &str) -> Result<Vec<Found>> {
    let entries = match fs::read_dir(base()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context("state directory of the clusters")?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name
            .strip_prefix(kind)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|n| n.parse().ok());
        if let Some(number) = number {
            found.push(Found { path, number });
        }
    }
    Ok(found)
}

/// A directory that exists.
#[derive(Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    pub number: u8,
}

impl Found {
    /// Whether a process holds the lock. Asking takes the lock for a moment, in which nobody else can clear
    /// a dead directory: to be asked of few.
    pub fn is_alive(&self) -> Result<bool> {
        Ok(self.path.is_dir() && try_lock(&self.path)?.is_none())
    }
}

fn base() -> PathBuf {
    PathBuf::from(format!("/var/tmp/outrigger-{}", nix::unistd::geteuid()))
}

/// The locked directory; None where another process holds it, or removed it meanwhile.
fn try_lock(path: &Path) -> Result<Option<File>> {
    let context = || format!("lock of {}", path.display());
    let directory = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory.with_context(context)?,
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    }
    let locked = directory.metadata().with_context(context)?;
    let same =
        fs::metadata(path).is_ok_and(|now| now.ino() == locked.ino() && now.dev() == locked.dev());
    Ok(same.then_some(directory))
}

/// Makes `path` unless it exists, and refuses one that others may write: `/var/tmp` is everybody's.
fn private_directory(path: &Path) -> Result<()> {
    let context = || path.display().to_string();
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created.with_context(context),
    }
    let metadata = fs::symlink_metadata(path).with_context(context)?;
    let ours = metadata.uid() == nix::unistd::geteuid().as_raw();
    if !metadata.is_dir() || !ours || metadata.permissions().mode() & 0o022 != 0 {
        bail!(
            "{}: not a directory that only this user writes; remove it",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remove(path: &Path, _number: u8) -> Result<()> {
        Ok(fs::remove_dir_all(path)?)
    }

    #[test]
    fn claims_of_one_kind_are_apart_and_end_with_the_claimant() {
        let one = claim("unit-apart", remove, |_| true).unwrap();
        let two = claim("unit-apart", remove, |_| true).unwrap();
        assert_ne!(one.path, two.path);
        assert!(
            list("unit-apart")
                .unwrap()
                .iter()
                .all(|found| found.is_alive().unwrap())
        );
        let path = one.path.clone();
        drop(one);
        assert!(!path.exists());
        assert!(two.path.exists());
    }

    #[test]
    fn directory_of_a_dead_cluster_is_cleared_and_that_of_a_living_one_is_not() {
        let mut dead = claim("unit-dead", remove, |_| true).unwrap();
        let living = claim("unit-dead", remove, |_| true).unwrap();
        let path = dead.path.clone();
        dead.hand_over();
        drop(dead);
        assert!(path.exists());
        clear_dead("unit-dead", remove).unwrap();
        assert!(!path.exists());
        assert!(living.path.exists());
    }

    #[test]
    fn number_that_is_not_usable_is_passed_over() {
        let state = claim("unit-usable", remove, |number| number > 2).unwrap();
        assert_eq!(state.number, 3);
    }

    #[test]
    fn directory_that_others_may_write_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        private_directory(&path).unwrap_err();
    }
}
