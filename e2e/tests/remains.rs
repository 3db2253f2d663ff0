//! Everything by which a node can be noticed on the machine.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use outrigger_e2e::cluster::Node;
use outrigger_e2e::wait;
use serde::{Deserialize, Serialize};

use crate::support::processes_of;

/// Longer than a loaded machine takes to end and remove what nobody refers to any more.
const MOMENT: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
pub struct Remains {
    pub directory: PathBuf,
    /// Of the link and the control groups.
    names: Vec<String>,
    /// The process that is 1 in the node.
    init: u32,
    /// The node's own namespaces.
    #[serde(skip)]
    namespaces: Vec<Namespace>,
}

/// A namespace, held open: the kernel gives the number of one that is gone to the next that is made, which may be another
/// node's. It stays as long as it is held; that nothing else keeps it is told by the processes and mounts.
#[derive(Debug)]
struct Namespace {
    kind: &'static str,
    file: File,
}

impl Namespace {
    fn inode(&self) -> u64 {
        self.file.metadata().unwrap().ino()
    }
}

impl Remains {
    pub fn of(node: &Node) -> Self {
        let remains = Self {
            directory: node.directory().to_owned(),
            names: node.names().into(),
            init: node.init(),
            namespaces: Vec::new(),
        };
        remains.held()
    }

    fn held(mut self) -> Self {
        let namespace = |kind| Namespace {
            kind,
            file: File::open(format!("/proc/{}/ns/{kind}", self.init)).unwrap(),
        };
        self.namespaces = ["pid", "net", "mnt"].map(namespace).into();
        self
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap()
    }

    /// Of a node that is still there.
    pub fn from_text(text: &str) -> Self {
        let remains: Self = serde_json::from_str(text).unwrap();
        remains.held()
    }

    /// The command lines of the processes in the node's namespaces, and of those that hold it from outside.
    pub fn processes(&self) -> Vec<String> {
        let mut processes = processes_of(&self.directory);
        for entry in fs::read_dir("/proc").unwrap() {
            let process = entry.unwrap().path();
            let is_in = |own: &Namespace| {
                fs::metadata(process.join("ns").join(own.kind))
                    .is_ok_and(|namespace| namespace.ino() == own.inode())
            };
            if self.namespaces.iter().any(is_in) {
                processes.push(
                    fs::read_to_string(process.join("cmdline"))
                        .unwrap_or_default()
                        .replace('\0', " "),
                );
            }
        }
        processes
    }

    /// The process outside of the namespaces that clears the node at its end.
    pub fn holder(&self) -> u32 {
        let script = self.directory.join("scripts/hold.sh").display().to_string();
        let is_holder = |pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split('\0').nth(1) == Some(&script)
        };
        let names = fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter_map(|name| name.to_str()?.parse().ok())
            .find(is_holder)
            .unwrap()
    }

    /// Whatever is left, by name.
    pub fn list(&self) -> Vec<String> {
        let mut left = self.processes();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let namespaces: Vec<String> = self
            .namespaces
            .iter()
            .map(|own| format!("{}:[{}]", own.kind, own.inode()))
            .collect();
        let directory = self.directory.display().to_string();
        let is_ours = |line: &&str| {
            line.contains(&directory) || namespaces.iter().any(|name| line.contains(name))
        };
        left.extend(mounts.lines().filter(is_ours).map(str::to_owned));
        let mut paths = vec![self.directory.clone()];
        for name in &self.names {
            paths.push(PathBuf::from("/sys/class/net").join(name));
            paths.push(PathBuf::from("/sys/fs/cgroup").join(name));
            let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap();
            paths.extend(hierarchies.map(|hierarchy| hierarchy.unwrap().path().join(name)));
        }
        left.extend(
            paths
                .iter()
                .filter(|path| path.exists())
                .map(|path| path.display().to_string()),
        );
        left
    }

    pub fn assert_gone(&self) {
        let gone = || {
            if self.list().is_empty() {
                Ok(())
            } else {
                Err(self.list().join("\n"))
            }
        };
        wait::until(MOMENT, "nothing of the node left", gone).unwrap();
    }
}
