//! The control groups of a node: one of its own in every hierarchy, so that its kubelet, which removes pod
//! groups it does not know, leaves those of others alone.
//!
//! Version 1 (also beside an empty version 2 hierarchy, "hybrid") wants the group in every hierarchy, the
//! named ones too. Version 2 wants the controllers passed on in `cgroup.subtree_control` on the way down,
//! and no processes in a group that passes them on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The controllers of version 2 that the kubelet asks for; `true`: it does not start without.
const CONTROLLERS: &[(&str, bool)] = &[
    ("cpu", true),
    ("cpuset", true),
    ("memory", true),
    ("pids", true),
    ("io", false),
    ("hugetlb", false),
];

/// Where processes go that are in the way in the root group of a container.
const LEAF: &str = "outrigger-others";

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One { cpuset: bool },
    Two,
}

/// The paths that a group of this name has or may have.
pub(super) fn paths(name: &str) -> Result<Vec<PathBuf>> {
    Ok(mounted()?
        .into_iter()
        .map(|hierarchy| hierarchy.mount.join(name))
        .collect())
}

/// Makes the group `name` in the hierarchies that a kubelet and runc use.
pub(super) fn create(name: &str) -> Result<()> {
    let hierarchies = mounted()?;
    let is_two = |hierarchy: &&Hierarchy| hierarchy.version == Version::Two;
    let (two, one): (Vec<_>, Vec<_>) = hierarchies.iter().partition(is_two);
    for hierarchy in &one {
        create_one(hierarchy, name)?;
    }
    match two.first() {
        Some(hierarchy) if one.is_empty() => {
            let available = fs::read_to_string(hierarchy.mount.join("cgroup.controllers"))
                .context("cgroup.controllers")?;
            create_two(&hierarchy.mount, name, &wanted(&available)?)
        }
        _ if one.is_empty() => bail!("no control groups are mounted (/sys/fs/cgroup)"),
        _ => Ok(()),
    }
}

fn create_one(hierarchy: &Hierarchy, name: &str) -> Result<()> {
    let group = hierarchy.mount.join(name);
    fs::create_dir(&group).with_context(|| group.display().to_string())?;
    if hierarchy.version == (Version::One { cpuset: true }) {
        // A new group has none, and nothing can run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parents = fs::read_to_string(hierarchy.mount.join(file)).context(file)?;
            write(&group.join(file), parents.trim())
                .with_context(|| group.display().to_string())?;
        }
    }
    Ok(())
}

fn create_two(root: &Path, name: &str, controllers: &str) -> Result<()> {
    enable(root, controllers)?;
    let group = root.join(name);
    fs::create_dir(&group).with_context(|| group.display().to_string())?;
    pass_on(&group, controllers)
        .with_context(|| format!("enabling {controllers} in {}", group.display()))
}

/// Passes controllers on from a group that may have processes, which are moved out of the way.
fn enable(root: &Path, controllers: &str) -> Result<()> {
    match pass_on(root, controllers) {
        // In a container, the group that looks like the root has processes and may not pass anything on.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            move_processes(root, &root.join(LEAF))?;
            pass_on(root, controllers)
        }
        outcome => outcome,
    }
    .with_context(|| {
        format!(
            "enabling {controllers} in {}/cgroup.subtree_control",
            root.display()
        )
    })
}

/// What to write into `cgroup.subtree_control` where these controllers are available.
fn wanted(available: &str) -> Result<String> {
    let available: Vec<&str> = available.split_whitespace().collect();
    let mut enabled = Vec::new();
    for (controller, needed) in CONTROLLERS {
        match available.contains(controller) {
            true => enabled.push(format!("+{controller}")),
            false if *needed => bail!(
                "the kubelet needs the cgroup controller {controller}: here are {available:?}"
            ),
            false => {}
        }
    }
    Ok(enabled.join(" "))
}

fn pass_on(group: &Path, controllers: &str) -> io::Result<()> {
    write(&group.join("cgroup.subtree_control"), controllers)
}

fn move_processes(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for pid in fs::read_to_string(from.join("cgroup.procs"))?.lines() {
        match write(&to.join("cgroup.procs"), pid) {
            // It ended meanwhile.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => {}
            moved => moved.with_context(|| format!("moving process {pid} to {}", to.display()))?,
        }
    }
    Ok(())
}

/// One write to an existing file of the kernel, which refuses to be truncated or made.
fn write(path: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(
        &mut fs::OpenOptions::new().write(true).open(path)?,
        text.as_bytes(),
    )
}

fn mounted() -> Result<Vec<Hierarchy>> {
    Ok(parse(
        &fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?,
    ))
}

/// The hierarchies in a `mountinfo`; of those mounted more than once, the first place.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut hierarchies: Vec<(String, Hierarchy)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (mut left, mut right) = (left.split(' '), right.split(' '));
        let (Some(device), Some(mount)) = (left.nth(2), left.nth(1)) else {
            continue;
        };
        let (Some(kind), Some(options)) = (right.next(), right.nth(1)) else {
            continue;
        };
        let version = match kind {
            "cgroup" => Version::One {
                cpuset: options.split(',').any(|option| option == "cpuset"),
            },
            "cgroup2" => Version::Two,
            _ => continue,
        };
        if !hierarchies.iter().any(|(known, _)| known == device) {
            hierarchies.push((
                device.to_owned(),
                Hierarchy {
                    mount: mount.into(),
                    version,
                },
            ));
        }
    }
    hierarchies
        .into_iter()
        .map(|(_, hierarchy)| hierarchy)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
28 25 0:24 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
29 28 0:25 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
30 28 0:26 / /sys/fs/cgroup/systemd rw,relatime shared:4 - cgroup cgroup rw,name=systemd
31 28 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 28 0:25 / /mnt/cpuset rw,relatime - cgroup cgroup rw,cpuset
";

    #[test]
    fn hierarchies_are_found_once_each_with_their_version() {
        let expected = [
            ("/sys/fs/cgroup/cpuset", Version::One { cpuset: true }),
            ("/sys/fs/cgroup/systemd", Version::One { cpuset: false }),
            ("/sys/fs/cgroup/unified", Version::Two),
        ];
        let expected = expected.map(|(mount, version)| Hierarchy {
            mount: mount.into(),
            version,
        });
        assert_eq!(parse(HYBRID), expected);
    }

    #[test]
    fn controllers_are_passed_on_where_they_are_available() {
        assert_eq!(
            wanted("cpuset cpu io memory pids rdma\n").unwrap(),
            "+cpu +cpuset +memory +pids +io"
        );
        assert!(
            wanted("cpu memory\n")
                .unwrap_err()
                .to_string()
                .contains("cpuset")
        );
    }

    /// Undoes what the test below does to the machine.
    struct Undo {
        group: PathBuf,
        process: std::process::Child,
        root: Option<(PathBuf, String)>,
    }

    impl Drop for Undo {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
            let rmdir = || {
                ["node", LEAF, ""].iter().all(|name| {
                    let path = self.group.join(name);
                    !path.exists() || fs::remove_dir(&path).is_ok()
                })
            };
            let _ =
                crate::wait::until_true(std::time::Duration::from_secs(5), "groups removed", rmdir);
            if let Some((root, controller)) = &self.root {
                let _ = pass_on(root, &format!("-{controller}"));
            }
        }
    }

    #[test]
    fn version_two_moves_processes_away_to_pass_controllers_on() {
        let Ok(()) = crate::requires::root() else {
            return;
        };
        let hierarchies = mounted().unwrap();
        let two = hierarchies
            .iter()
            .find(|hierarchy| hierarchy.version == Version::Two);
        let available =
            two.map(|two| fs::read_to_string(two.mount.join("cgroup.controllers")).unwrap());
        let Some((two, controller)) = two.zip(
            available
                .as_deref()
                .and_then(|all| all.split_whitespace().last()),
        ) else {
            return crate::requires::skip("needs a cgroup v2 hierarchy with a controller");
        };
        let enabled = fs::read_to_string(two.mount.join("cgroup.subtree_control")).unwrap();
        let was_enabled = enabled.split_whitespace().any(|known| known == controller);
        enable(&two.mount, &format!("+{controller}")).unwrap();
        let group = two
            .mount
            .join(format!("outrigger-unit-{}", std::process::id()));
        fs::create_dir(&group).unwrap();
        let process = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = process.id().to_string();
        let root = (!was_enabled).then(|| (two.mount.clone(), controller.to_owned()));
        let _undo = Undo {
            group: group.clone(),
            process,
            root,
        };
        write(&group.join("cgroup.procs"), &pid).unwrap();

        create_two(&group, "node", &format!("+{controller}")).unwrap();
        let read = |path: &str| fs::read_to_string(group.join(path)).unwrap();
        assert_eq!(read(&format!("{LEAF}/cgroup.procs")).trim(), pid);
        assert_eq!(read("cgroup.procs"), "");
        assert_eq!(read("node/cgroup.subtree_control").trim(), controller);
    }
}
