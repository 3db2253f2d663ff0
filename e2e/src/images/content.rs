//! What is in an image: files at absolute paths, and how its program is started.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::libraries;

/// An image of a single layer. Folders above an entry are implied.
#[derive(Clone, Debug)]
pub struct Image {
    /// The last part of its reference before the tag, such as `proxyv2`.
    pub name: &'static str,
    /// Its files, each path once.
    pub entries: Vec<Entry>,
    /// How its program is started.
    pub config: Config,
}

/// The part of an image's configuration that Outrigger's images use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The program, and arguments that stay when a pod gives `args`.
    pub entrypoint: Vec<String>,
    /// `uid:gid`; root if absent.
    pub user: Option<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
}

/// A file, link or folder of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is there.
    pub content: Content,
}

/// What is at a path of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// The bytes of a file of this machine.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A symbolic link to this path.
    Link(String),
    /// An empty folder.
    Directory,
}

impl Image {
    /// An empty image whose program is `entrypoint`.
    pub fn new(name: &'static str, entrypoint: &str, user: &str) -> Self {
        let config = Config {
            entrypoint: vec![entrypoint.to_owned()],
            user: Some(user.to_owned()),
            env: Vec::new(),
        };
        Self {
            name,
            entries: Vec::new(),
            config,
        }
    }

    /// Adds a program of this machine with the shared libraries that it needs.
    ///
    /// # Errors
    /// When it can't be read, or lacks one of its libraries.
    pub fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.add(path, 0o755, Content::File(source.to_owned()));
        self.libraries_of(source)
    }

    /// Adds a folder of this machine's shared objects, which a program loads at run time, at the same path.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn plugins(&mut self, directory: &Path) -> Result<()> {
        let listing = directory
            .read_dir()
            .with_context(|| format!("reading {}", directory.display()))?;
        let mut files = listing
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        for file in files {
            let content = match file.read_link() {
                Ok(target) => Content::Link(target.display().to_string()),
                Err(_) => Content::File(file.clone()),
            };
            if matches!(content, Content::File(_)) {
                self.libraries_of(&file)?;
            }
            self.add(&file.display().to_string(), 0o644, content);
        }
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, 0o777, Content::Link(target.to_owned()));
    }

    /// Adds a small file of its own.
    pub fn text(&mut self, path: &str, text: &str) {
        self.add(path, 0o644, Content::Bytes(text.as_bytes().to_vec()));
    }

    /// Adds an empty folder.
    pub fn directory(&mut self, path: &str, mode: u32) {
        self.add(path, mode, Content::Directory);
    }

    fn libraries_of(&mut self, source: &Path) -> Result<()> {
        for library in libraries::of(source)? {
            let mode = library
                .metadata()
                .with_context(|| library.display().to_string())?
                .permissions()
                .mode();
            self.add(
                &library.display().to_string(),
                mode & 0o777,
                Content::File(library),
            );
        }
        Ok(())
    }

    /// The first entry of a path stays: programs share their libraries.
    fn add(&mut self, path: &str, mode: u32, content: Content) {
        if !self.entries.iter().any(|entry| entry.path == path) {
            self.entries.push(Entry {
                path: path.to_owned(),
                mode,
                content,
            });
        }
    }
}

/// A tag that changes exactly when something in these images does. They share it, as a chart has one tag for all.
///
/// # Errors
/// When a file can't be read.
pub fn content_hash(images: &[Image]) -> Result<String> {
    let mut hash = Sha256::new();
    for image in images {
        hash.update(format!("{}\n{:?}\n", image.name, image.config));
        let entries: BTreeSet<_> = image
            .entries
            .iter()
            .map(|entry| (&entry.path, entry.mode, &entry.content))
            .collect();
        for (path, mode, content) in entries {
            hash.update(format!("{path} {mode:o} "));
            match content {
                Content::File(source) => hash.update(file_hash(source)?),
                Content::Bytes(bytes) => hash.update(Sha256::digest(bytes)),
                Content::Link(target) => hash.update(format!("-> {target}")),
                Content::Directory => hash.update("/"),
            }
            hash.update("\n");
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn file_hash(path: &Path) -> Result<[u8; 32]> {
    let context = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(context)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}
