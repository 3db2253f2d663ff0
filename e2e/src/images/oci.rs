//! OCI archives: an image of one layer as a file that `ctr images import` reads. The same content gives
//! the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Content, Entry, Image};

/// Writes `image` to the file `archive`, to be imported as `reference` (`local.test/NAME:TAG`).
///
/// # Errors
/// A file of the image can't be read, or the archive can't be written.
pub fn write(image: &Image, reference: &str, archive: &Path) -> Result<()> {
    let context = || format!("image {reference} to {}", archive.display());
    let directory = archive.parent().with_context(context)?;
    let (mut layer, layer_digest, layer_size) = layer(image, directory).with_context(context)?;

    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": image.config.entrypoint,
            "User": image.config.user.as_deref().unwrap_or_default(),
            "Env": image.config.env,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    });
    let config = Blob::new("config.v1", &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type("manifest.v1"),
        "config": config.descriptor,
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer_size }],
    });
    let mut manifest = Blob::new("manifest.v1", &manifest);
    manifest.descriptor["annotations"] = json!({ "io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest.descriptor] });

    let partial = tempfile::NamedTempFile::new_in(directory).with_context(context)?;
    let mut tar = tar::Builder::new(BufWriter::new(partial));
    let layout = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
    for (path, bytes) in [
        ("oci-layout".to_owned(), layout.as_bytes()),
        ("index.json".to_owned(), index.to_string().as_bytes()),
        (config.path(), config.text.as_bytes()),
        (manifest.path(), manifest.text.as_bytes()),
    ] {
        append(&mut tar, &path, 0o644, bytes.len() as u64, bytes).with_context(context)?;
    }
    layer.rewind()?;
    append(
        &mut tar,
        &blob_path(&layer_digest),
        0o644,
        layer_size,
        &mut layer,
    )
    .with_context(context)?;
    let partial = tar
        .into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    partial.persist(archive).with_context(context)?;
    Ok(())
}

/// A JSON document of the archive.
struct Blob {
    text: String,
    descriptor: Value,
}

impl Blob {
    fn new(kind: &str, content: &Value) -> Self {
        let text = content.to_string();
        let digest = name_of(Sha256::digest(&text).as_slice());
        let descriptor =
            json!({ "mediaType": media_type(kind), "digest": digest, "size": text.len() });
        Self { text, descriptor }
    }

    fn path(&self) -> String {
        blob_path(self.descriptor["digest"].as_str().unwrap_or_default())
    }
}

fn media_type(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}+json")
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn name_of(digest: &[u8]) -> String {
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// What OCI, after Go, calls the architecture of this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The layer as an unnamed file, its digest and its size.
fn layer(image: &Image, directory: &Path) -> Result<(File, String, u64)> {
    let file = tempfile::tempfile_in(directory)?;
    let mut tar = tar::Builder::new(Hashing {
        inner: BufWriter::new(file),
        hash: Sha256::new(),
        size: 0,
    });
    // Folders come before what is in them.
    let mut entries: BTreeMap<String, Option<&Entry>> = BTreeMap::new();
    for entry in &image.entries {
        let path = entry.path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            entries.entry(path[..end].to_owned()).or_default();
        }
        entries.insert(path.to_owned(), Some(entry));
    }
    for (path, entry) in &entries {
        append_entry(&mut tar, path, *entry).with_context(|| format!("/{path}"))?;
    }
    let hashing = tar.into_inner()?;
    let digest = name_of(hashing.hash.finalize().as_slice());
    let file = hashing
        .inner
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok((file, digest, hashing.size))
}

/// Adds what is at `path`; without an entry, a folder that others are in.
fn append_entry<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    entry: Option<&Entry>,
) -> Result<()> {
    let mode = entry.map_or(0o755, |entry| entry.mode);
    match entry.map(|entry| &entry.content) {
        None | Some(Content::Directory) => {
            let mut header = header(tar::EntryType::Directory, mode, 0);
            tar.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Some(Content::Link(target)) => {
            tar.append_link(&mut header(tar::EntryType::Symlink, mode, 0), path, target)?;
        }
        Some(Content::Bytes(bytes)) => {
            append(tar, path, mode, bytes.len() as u64, bytes.as_slice())?
        }
        Some(Content::File(source)) => {
            let file = File::open(source).with_context(|| source.display().to_string())?;
            append(
                tar,
                path,
                mode,
                file.metadata()?.len(),
                BufReader::with_capacity(1 << 20, file),
            )?;
        }
    }
    Ok(())
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    size: u64,
    content: impl io::Read,
) -> io::Result<()> {
    tar.append_data(
        &mut header(tar::EntryType::Regular, mode, size),
        path,
        content,
    )
}

/// Owned by root, at the beginning of time.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// Writes through, with the digest of what was written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    fn image() -> Image {
        let mut image = Image::new("sample", "/usr/bin/sample", "65532:65532");
        image.text("/etc/sample/config", "level: info\n");
        image.link("/usr/bin/sample", "/etc/sample/config");
        image.directory("/tmp", 0o1777);
        image
    }

    fn files(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, (entry.header().mode().unwrap(), content))
        });
        entries.collect()
    }

    #[test]
    fn same_content_gives_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        write(&image(), "local.test/sample:1", &one).unwrap();
        write(&image(), "local.test/sample:1", &two).unwrap();
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }

    #[test]
    fn every_blob_is_named_by_its_digest_and_found_from_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.tar");
        write(&image(), "local.test/sample:1", &path).unwrap();
        let files = files(&fs::read(path).unwrap());
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let (_, content) = &files[&blob_path(digest)];
            assert_eq!(name_of(Sha256::digest(content).as_slice()), digest);
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"].1).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            "local.test/sample:1"
        );
        let manifest: Value = serde_json::from_slice(&blob(entry)).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/sample"]));
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            manifest["layers"][0]["digest"]
        );
        let layer = super::tests::files(&blob(&manifest["layers"][0]));
        let expected = [
            "etc/",
            "etc/sample/",
            "etc/sample/config",
            "tmp/",
            "usr/",
            "usr/bin/",
            "usr/bin/sample",
        ];
        assert_eq!(layer.keys().collect::<Vec<_>>(), expected);
        assert_eq!(
            layer["etc/sample/config"],
            (0o644, b"level: info\n".to_vec())
        );
        assert_eq!(layer["tmp/"].0, 0o1777);
    }
}
