//! The shared libraries of a program, as its own loader finds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The libraries that `program` is loaded with, its loader included; none for a static one.
///
/// # Errors
/// When `ldd` can't be run, or a library is missing on this machine.
pub fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("running ldd")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    // `ldd` fails on a static program that is no PIE and says so on either stream.
    if !output.status.success()
        && !String::from_utf8_lossy(&output.stderr).contains("not a dynamic executable")
    {
        bail!(
            "ldd {}: {}{}",
            program.display(),
            listing,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&listing).with_context(|| format!("libraries of {}", program.display()))
}

/// Reads lines of the forms `name => path (address)` and `path (address)`; the kernel's own library has no path.
fn parse(listing: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listing.lines().map(str::trim) {
        let place = line
            .split_once("=>")
            .map_or(line, |(_, place)| place.trim());
        if place.starts_with("not found") {
            bail!("{line}: install the package that has it");
        }
        if place.starts_with('/') {
            let path = place.split_once(" (").map_or(place, |(path, _)| path);
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_own_is_not() {
        let listing = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ]
        .map(PathBuf::from);
        assert_eq!(parse(listing).unwrap(), expected);
        assert_eq!(
            parse("\tstatically linked\n").unwrap(),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn missing_library_is_named() {
        let error = parse("\tlibmnl.so.0 => not found\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("libmnl.so.0"), "{error}");
    }

    #[test]
    fn shell_of_this_machine_brings_its_c_library() {
        let libraries = of(Path::new("/bin/sh")).unwrap();
        assert!(
            libraries
                .iter()
                .any(|path| path.display().to_string().contains("libc.so.6")),
            "{libraries:?}"
        );
    }
}
