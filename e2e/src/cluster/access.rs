//! Reaching a cluster: its kubeconfig, kubectl and helm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::command::{self, CommandError};
use crate::progress::Lines;
use crate::tools::{self, Tools};
use crate::wait;

/// How long an API server may take to establish definitions.
const DEFINITIONS_TIME: Duration = Duration::from_secs(60);

/// What a client of a cluster has in hand.
#[derive(Debug)]
pub struct Access {
    server: String,
    home: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Access {
    /// Writes the kubeconfig of the administrator, whose certificate is `admin` in `home/pki`.
    pub(super) fn new(home: &Path, server: String, tools: &Tools) -> Result<Self> {
        let kubeconfig = write_kubeconfig(home, "admin", &server)?;
        Ok(Self {
            server,
            home: home.to_owned(),
            kubeconfig,
            kubectl: tools.path("kubectl"),
        })
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn kubectl(&self, kubeconfig: &Path) -> Command {
        self.client(&self.kubectl, kubeconfig)
    }

    pub(super) fn helm(&self) -> Result<Command> {
        let tools = tools::named(&["helm"], &Lines)?;
        Ok(self.client(&tools.path("helm"), &self.kubeconfig))
    }

    /// A kubeconfig of a bearer token, beside the others.
    pub(super) fn kubeconfig_of_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        let user = json!({ "token": token });
        write_kubeconfig_of(&self.home, name, &self.server, &user)
    }

    /// A client program that keeps its caches and settings in the directory of the cluster.
    fn client(&self, program: &Path, kubeconfig: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", &self.home);
        for name in [
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "KUBECACHEDIR",
        ] {
            command.env(name, self.home.join("client"));
        }
        command
    }
}

/// A kubeconfig for the client certificate `name` in `home/pki`, as `home/NAME.kubeconfig`.
pub(super) fn write_kubeconfig(home: &Path, name: &str, server: &str) -> Result<PathBuf> {
    let pki = home.join("pki");
    let user = json!({
        "client-certificate": pki.join(format!("{name}.crt")),
        "client-key": pki.join(format!("{name}.key")),
    });
    write_kubeconfig_of(home, name, server, &user)
}

fn write_kubeconfig_of(
    home: &Path,
    name: &str,
    server: &str,
    user: &serde_json::Value,
) -> Result<PathBuf> {
    let path = home.join(format!("{name}.kubeconfig"));
    // JSON is YAML.
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "outrigger",
            "cluster": { "server": server, "certificate-authority": home.join("pki/ca.crt") },
        }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": "outrigger", "context": { "cluster": "outrigger", "user": name } }],
        "current-context": "outrigger",
    });
    fs::write(&path, text.to_string()).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// A running cluster of either level.
pub trait Cluster {
    /// What a client needs.
    fn access(&self) -> &Access;

    /// Where a server in this process must listen so that the API server reaches it (a webhook by `url`).
    fn host_address(&self) -> std::net::Ipv4Addr;

    /// Where the API server listens: `https://ADDRESS:PORT`.
    fn server(&self) -> &str {
        self.access().server()
    }

    /// The administrator's kubeconfig. It names files beside it: valid on this machine, while the cluster lives.
    fn kubeconfig(&self) -> &Path {
        self.access().kubeconfig()
    }

    /// A kubectl command of the administrator, to be given arguments.
    fn kubectl_command(&self) -> Command {
        self.access().kubectl(self.kubeconfig())
    }

    /// Runs kubectl as the administrator and returns its stdout.
    fn kubectl(&self, arguments: &[&str]) -> Result<String, CommandError> {
        command::output(self.kubectl_command().args(arguments))
    }

    /// Runs kubectl as whoever `kubeconfig` is for and returns its stdout.
    fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String, CommandError> {
        command::output(self.access().kubectl(kubeconfig).args(arguments))
    }

    /// Applies manifests (YAML or JSON text) server-side and returns what kubectl says.
    fn apply(&self, manifests: &str) -> Result<String, CommandError> {
        let mut kubectl = self.kubectl_command();
        command::output_with_input(
            kubectl.args(["apply", "--server-side", "-f", "-"]),
            manifests,
        )
    }

    /// Waits until every CustomResourceDefinition in the cluster is established. `kubectl wait` alone fails on one that
    /// was made a moment ago and has no conditions yet.
    ///
    /// # Errors
    /// One is not established in time; with what kubectl said last.
    fn wait_for_definitions(&self) -> Result<()> {
        let established = [
            "wait",
            "crd",
            "--all",
            "--for=condition=Established",
            "--timeout=5s",
        ];
        wait::until(DEFINITIONS_TIME, "CustomResourceDefinitions", || {
            self.kubectl(&established)
        })?;
        Ok(())
    }

    /// Runs helm as the administrator and returns its stdout.
    ///
    /// # Errors
    /// Helm is missing and could not be built, or failed.
    fn helm(&self, arguments: &[&str]) -> Result<String> {
        Ok(command::output(self.access().helm()?.args(arguments))?)
    }

    /// A kubeconfig with a bearer token of this service account, to act with its rights and no more.
    ///
    /// # Errors
    /// The service account does not exist.
    fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        // For longer than any test takes: what is in a file is not renewed as a pod's token is.
        let lasting = "--duration=24h";
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace, lasting])?;
        self.access()
            .kubeconfig_of_token(&format!("{namespace}.{name}"), token.trim())
    }
}
