//! etcd and kube-apiserver on loopback: the real API without nodes, for anyone, many at once.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::access::{Access, Cluster};
use super::api_server::{self, Endpoints};
use super::launcher::Launcher;
use super::state;
use crate::progress::Progress;
use crate::tools;

/// Seconds on an idle machine, more where others build on it.
const DEADLINE: Duration = Duration::from_secs(120);

/// A control plane, ended and removed on drop, and when this process ends in any other way.
///
/// There is no controller-manager and no kube-proxy: webhooks are by `url` (never `service`), there are no
/// EndpointSlices and no garbage collection, and a namespace has no service account `default` unless
/// [`create_namespace`](Self::create_namespace) made it.
#[derive(Debug)]
pub struct ControlPlane {
    launcher: Launcher,
    access: Access,
    endpoints: Endpoints,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready. Programs that are missing are built before.
    ///
    /// # Errors
    /// Programs could not be built; etcd or kube-apiserver did not become ready (with what they logged).
    pub fn start(progress: &dyn Progress) -> Result<Self> {
        Self::start_with(&[], progress)
    }

    /// Starts a control plane whose kube-apiserver has these flags too.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(flags: &[&str], progress: &dyn Progress) -> Result<Self> {
        const ATTEMPTS: u32 = 3;
        let mut attempt = 1;
        loop {
            match Self::start_once(flags, progress) {
                // Ports are found before they are used: another process may have been faster.
                Err(error)
                    if attempt < ATTEMPTS
                        && format!("{error:#}").contains("address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome.context("control plane"),
            }
        }
    }

    /// One control plane for all tests of a process, which keep apart by namespaces.
    ///
    /// # Errors
    /// As [`start`](Self::start), the same for every caller.
    pub fn shared(progress: &dyn Progress) -> Result<&'static Self> {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        let shared =
            SHARED.get_or_init(|| Self::start(progress).map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn start_once(flags: &[&str], progress: &dyn Progress) -> Result<Self> {
        let tools = tools::named(tools::CONTROL_PLANE, progress)?;
        let state = state::claim("control-plane", |path, _| remove(path), |_| true)?;
        let home = state.path.clone();
        let [etcd, etcd_peers, port] = free_ports()?;
        let endpoints = Endpoints {
            etcd,
            etcd_peers,
            address: Ipv4Addr::LOCALHOST,
            port,
        };
        api_server::certificates(&home.join("pki"), endpoints.address)?;
        let access = Access::new(&home, format!("https://127.0.0.1:{port}"), &tools)?;

        let launcher = Launcher::start(state, &[], "launch.sh", &[])?;
        launcher.run("etcd", &api_server::etcd(&tools, &home, &endpoints))?;
        let mut arguments = api_server::kube_apiserver(&tools, &home, &endpoints);
        // A loopback address can't be the endpoint of the Service `kubernetes`.
        arguments.extend([
            "--bind-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
        ]);
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        launcher.run(api_server::NAME, &arguments)?;
        let control_plane = Self {
            launcher,
            access,
            endpoints,
        };
        control_plane.wait_until_ready()?;
        control_plane.create_service_account("default")?;
        Ok(control_plane)
    }

    /// Creates a namespace with the service account `default`, as the controller-manager would.
    ///
    /// # Errors
    /// The namespace exists already.
    pub fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name])?;
        self.create_service_account(name)
    }

    /// Kills the API server and starts it again; returns when it is ready.
    ///
    /// # Errors
    /// It does not become ready again.
    pub fn restart_api_server(&self) -> Result<()> {
        self.stop_api_server()?;
        self.start_api_server()
    }

    /// Kills the API server. What it stored stays.
    ///
    /// # Errors
    /// The control plane as a whole has ended.
    pub fn stop_api_server(&self) -> Result<()> {
        self.launcher.stop(api_server::NAME)
    }

    /// Starts the API server after [`stop_api_server`](Self::stop_api_server), on the same port; returns when
    /// it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start_api_server(&self) -> Result<()> {
        self.launcher.again(api_server::NAME)?;
        self.wait_until_ready()
    }

    /// Starts another program beside the API server; it ends with the control plane. Its output goes to a log
    /// of this name.
    ///
    /// # Errors
    /// The control plane as a whole has ended.
    pub fn run(&self, name: &str, words: &[String]) -> Result<()> {
        self.launcher.run(name, words)
    }

    /// Where etcd answers clients, over plain HTTP.
    pub fn etcd(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.endpoints.etcd).into()
    }

    /// What one of the programs logged last, by its name.
    pub fn log(&self, name: &str) -> String {
        self.launcher.log_tail(name)
    }

    /// Where everything is that this control plane writes; removed at its end.
    pub fn directory(&self) -> &Path {
        &self.launcher.state().path
    }

    fn wait_until_ready(&self) -> Result<()> {
        api_server::wait_until_ready(&self.launcher, self, &self.endpoints, DEADLINE)
    }

    fn create_service_account(&self, namespace: &str) -> Result<()> {
        // The API server itself makes the namespace `default`, a moment after it is ready.
        self.launcher.wait_for(&[api_server::NAME], DEADLINE, || {
            Ok(self.kubectl(&[
                "create",
                "serviceaccount",
                "default",
                "--namespace",
                namespace,
            ])?)
        })?;
        Ok(())
    }
}

impl Cluster for ControlPlane {
    fn access(&self) -> &Access {
        &self.access
    }

    fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::LOCALHOST
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).with_context(|| path.display().to_string())
}

/// Ports of 127.0.0.1 that nobody listens on now.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut listeners = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
