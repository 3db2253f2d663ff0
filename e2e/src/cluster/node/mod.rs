//! Everything that runs pods, on one node in namespaces of its own.

mod config;
mod remains;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::access::{Access, Cluster};
use super::api_server;
use super::cgroups;
use super::launcher::Launcher;
use super::state;
use crate::command;
use crate::images::system;
use crate::packages::{self, Install, Need};
use crate::progress::{Progress, step};
use crate::tools::{self, Tools};
use crate::wait;
use config::{NODE, Slot};
pub use remains::{Kept, down, kept};

/// State directories of this kind are nodes.
const KIND: &str = "node";
/// Ten to twenty seconds on an idle machine, more where others build on it.
const DEADLINE: Duration = Duration::from_secs(180);

/// A whole cluster of one node, ended and removed on drop, and when this process ends in any other way,
/// unless it was [kept](Self::keep).
#[derive(Debug)]
pub struct Node {
    launcher: Launcher,
    access: Access,
    tools: Tools,
    slot: Slot,
    init: u32,
}

impl Node {
    /// Starts a node and waits until its pods run and its DNS answers. Debian packages that are missing are
    /// installed and programs built before.
    ///
    /// `name` is what [`down`] knows it by. `images` are archives to load, as [`load_images`](Self::load_images)
    /// does.
    ///
    /// # Errors
    /// This process is not root; packages or programs are missing and could not be had; a program did not
    /// become ready (with what it logged).
    pub fn start(
        name: &str,
        images: &[PathBuf],
        install: Install,
        progress: &dyn Progress,
    ) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a node needs root: namespaces, mounts and control groups");
        }
        packages::ensure(Need::Node, install, progress)?;
        let tools = tools::all(progress)?;
        let system_images = system::archives(&tools, progress)?;
        let node = step(
            progress,
            "make namespaces, control groups, certificates",
            || Self::claim(name, tools),
        )?;
        step(progress, "start etcd, kube-apiserver, containerd", || {
            node.start_api()
        })?;
        step(
            progress,
            "start kubelet, controllers, kube-proxy; load images",
            || {
                thread::scope(|scope| {
                    let loading = scope.spawn(|| node.load_images(&system_images));
                    node.start_kubelet()?;
                    loading
                        .join()
                        .map_err(|_| anyhow!("loading images panicked"))?
                })?;
                node.kubectl(&[
                    "apply",
                    "--server-side",
                    "--filename",
                    &node.file("coredns.yaml"),
                ])?;
                node.load_images(images)
            },
        )?;
        step(progress, "wait for the node and its DNS", || {
            node.wait_until_ready()
        })?;
        Ok(node)
    }

    /// One node for all tests of a process, which keep apart by namespaces. It ends with the process.
    ///
    /// # Errors
    /// As [`start`](Self::start), the same for every caller.
    pub fn shared(progress: &dyn Progress) -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Node, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            Self::start("tests", &[], Install::Allowed, progress)
                .map_err(|error| format!("{error:#}"))
        });
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Loads OCI archives. An image of the same reference is replaced for containers made from now on.
    ///
    /// # Errors
    /// An archive can't be read or is none.
    pub fn load_images<P: AsRef<Path>>(&self, archives: &[P]) -> Result<()> {
        for archive in archives {
            let mut ctr = Command::new(self.tools.path("ctr"));
            ctr.args([
                "--address",
                &self.file("run/containerd.sock"),
                "--namespace",
                "k8s.io",
                "images",
                "import",
            ]);
            command::output(ctr.arg(archive.as_ref()))?;
        }
        Ok(())
    }

    /// The address of the node: NodePorts are here.
    pub fn address(&self) -> Ipv4Addr {
        self.slot.node_address()
    }

    /// A command that will run in the node's network, where Services have their addresses; with the caller's
    /// files.
    pub fn in_network(&self, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.init.to_string(), "--net", "--", program]);
        nsenter
    }

    /// What one of the node's programs logged last, by its name (`kubelet`, `kube-apiserver`, …).
    pub fn log(&self, program: &str) -> String {
        self.launcher.log_tail(program)
    }

    /// Where everything is that this node writes; removed at its end.
    pub fn directory(&self) -> &Path {
        &self.launcher.state().path
    }

    /// The process, as the caller sees it, with which everything in the node ends.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// The names that the node has on the machine: of the network link, and of the control groups.
    pub fn names(&self) -> [String; 2] {
        [self.slot.interface(), self.slot.group()]
    }

    /// Lets the node outlive this process, until [`down`] removes it, and returns its kubeconfig.
    ///
    /// # Errors
    /// The node has ended.
    pub fn keep(self) -> Result<PathBuf> {
        self.launcher.keep()?;
        Ok(self.access.kubeconfig().to_owned())
    }

    fn claim(name: &str, tools: Tools) -> Result<Self> {
        let state = state::claim(KIND, remains::clear, |number| Slot(number).is_free())?;
        let slot = Slot(state.number);
        let home = state.path.clone();
        remains::record_name(&home, name)?;
        config::write(&home, slot)?;
        cgroups::create(&slot.group())?;
        let server = format!("https://{}:{}", slot.node_address(), slot.endpoints().port);
        let access = Access::new(&home, server, &tools)?;

        let unshare = [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ];
        let mut environment = remains::environment(&home, slot.0)?;
        environment.extend(config::environment(&home, slot, &tools)?);
        let launcher = Launcher::start(state, &unshare, "node.sh", &environment)?;
        let init = init_of(&launcher).with_context(|| launcher.log_tail("hold"))?;
        remains::record_init(&home, init)?;
        connect(slot, init)?;
        launcher
            .ask("network")
            .with_context(|| launcher.log_tail("hold"))?;
        Ok(Self {
            launcher,
            access,
            tools,
            slot,
            init,
        })
    }

    fn start_api(&self) -> Result<()> {
        let endpoints = self.slot.endpoints();
        self.launcher.run(
            "etcd",
            &api_server::etcd(&self.tools, self.directory(), &endpoints),
        )?;
        let mut arguments = api_server::kube_apiserver(&self.tools, self.directory(), &endpoints);
        arguments.extend(config::kube_apiserver(self.directory()));
        self.launcher.run(api_server::NAME, &arguments)?;
        self.launcher.run(
            "containerd",
            &config::containerd(&self.tools, self.directory()),
        )?;
        self.launcher.wait_for(&["containerd"], DEADLINE, || {
            Ok(UnixStream::connect(self.file("run/containerd.sock"))?)
        })?;
        api_server::wait_until_ready(&self.launcher, self, &endpoints, DEADLINE)
    }

    fn start_kubelet(&self) -> Result<()> {
        for (name, arguments) in config::with_api(&self.tools, self.directory(), self.slot) {
            self.launcher.run(name, &arguments)?;
        }
        Ok(())
    }

    fn wait_until_ready(&self) -> Result<()> {
        self.launcher.wait_for(&["kubelet"], DEADLINE, || {
            Ok(self.kubectl(&[
                "wait",
                "--for=condition=Ready",
                "--timeout=10s",
                &format!("node/{NODE}"),
            ])?)
        })?;
        // Pods are refused without it.
        self.launcher
            .wait_for(&["kube-controller-manager"], DEADLINE, || {
                Ok(self.kubectl(&["get", "serviceaccount", "default", "--namespace=default"])?)
            })?;
        self.kubectl(&[
            "rollout",
            "status",
            "deployment/coredns",
            "--namespace=kube-system",
            "--timeout=120s",
        ])
        .with_context(|| self.log("kubelet"))?;
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        self.directory().join(name).display().to_string()
    }
}

impl Cluster for Node {
    fn access(&self) -> &Access {
        &self.access
    }

    fn host_address(&self) -> Ipv4Addr {
        self.slot.host_address()
    }
}

/// The process that is 1 in the node: the child of `unshare`, which is the child of the holder.
fn init_of(launcher: &Launcher) -> Result<u32> {
    let child = |parent: u32| -> Result<u32> {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        Ok(children
            .split_whitespace()
            .next()
            .context("no child yet")?
            .parse()?)
    };
    wait::until(Duration::from_secs(20), "process 1 of the node", || {
        let init = child(child(launcher.pid().context("the node is kept")?)?)?;
        // Not before it is in its own namespaces.
        let same =
            fs::read_link(format!("/proc/{init}/ns/net"))? == fs::read_link("/proc/self/ns/net")?;
        if same {
            Err(anyhow!("still in the caller's network"))
        } else {
            Ok(init)
        }
    })
}

/// Links the caller's network with the node's.
fn connect(slot: Slot, init: u32) -> Result<()> {
    let (link, address) = (slot.interface(), format!("{}/30", slot.host_address()));
    let init = init.to_string();
    let add = [
        "link", "add", &link, "type", "veth", "peer", "name", "node0", "netns", &init,
    ];
    for arguments in [
        &add[..],
        &["address", "add", &address, "dev", &link],
        &["link", "set", &link, "up"],
    ] {
        command::output(Command::new("ip").args(arguments))?;
    }
    Ok(())
}
