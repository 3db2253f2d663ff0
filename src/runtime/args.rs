//! The command line of `outriggerd`.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use super::logs::LogFormat;
use crate::audit::eviction::Limits;

/// The control plane of Outrigger: injects sidecars, checks routing objects and says in their status what is wrong.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "outriggerd", version)]
pub struct Args {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Namespace of the lease, of the Secret, and of the Service that the API server calls.
    #[arg(long, env = "POD_NAMESPACE", default_value = "outrigger-system")]
    pub namespace: String,

    /// Name of this replica: the holder of the lease, and the reporter of events [default: outriggerd-PID].
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Revision of this control plane; empty for the default one, which alone writes status.
    #[arg(long, default_value = "")]
    pub revision: String,

    /// Service under which the API server calls the webhooks.
    #[arg(long, default_value = "outriggerd")]
    pub service_name: String,

    /// Where the webhooks listen (HTTPS).
    #[arg(long, default_value = "0.0.0.0:15017")]
    pub webhook_addr: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served (HTTP).
    #[arg(long, default_value = "0.0.0.0:15014")]
    pub admin_addr: SocketAddr,

    /// Where /debug/snapshot is served (HTTP); a loopback address.
    #[arg(long, default_value = "127.0.0.1:15013")]
    pub debug_addr: SocketAddr,

    /// Folder with the files `mesh` (MeshConfig) and `values` (injection), YAML; each may be missing.
    #[arg(long, default_value = "/etc/outrigger/config")]
    pub config_dir: PathBuf,

    /// Secret with the webhooks' certificates; made if it isn't there.
    #[arg(long, default_value = "outrigger-webhook-certs")]
    pub secret_name: String,

    /// MutatingWebhookConfiguration whose caBundle is kept [default: outrigger-sidecar-injector, -REVISION].
    #[arg(long)]
    pub mutating_webhook: Option<String>,

    /// ValidatingWebhookConfiguration whose caBundle is kept [default: outrigger-validator, -REVISION].
    #[arg(long)]
    pub validating_webhook: Option<String>,

    /// A further DNS name or address that the serving certificate is for; may be repeated.
    #[arg(long = "dns-name", value_name = "NAME")]
    pub dns_names: Vec<String>,

    /// Whether status is written; if not, what was written before is removed.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub write_status: bool,

    /// Evict running pods that should have a proxy and have none, if a controller makes them again.
    #[arg(long)]
    pub evict_without_proxy: bool,

    /// Evict running pods with an old proxy as well, if a controller makes them again.
    #[arg(long)]
    pub evict_outdated_proxy: bool,

    /// How many pods are evicted in a minute.
    #[arg(long, default_value_t = 5, value_name = "PODS")]
    pub evictions_per_minute: usize,

    /// Namespaces whose Secrets are read, because Gateways name them as credentials; needs a Role in each [default: the
    /// namespace of --namespace].
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',')]
    pub credential_namespaces: Option<Vec<String>>,

    /// How to reach the API server [default: $KUBECONFIG, ~/.kube/config, or the pod's service account].
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,

    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Which log lines are written: a level, or directives such as `info,outrigger=debug`.
    #[arg(long, env = "OUTRIGGER_LOG", default_value = "info")]
    pub log_level: String,
}

/// What else the program does.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Take the Lease of the writers, remove what they wrote into the status of every object, and end.
    UninstallStatus {
        /// For how long to try, everything included.
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        timeout: u64,

        /// End with status 0 even if something is left; the log says what.
        #[arg(long)]
        best_effort: bool,
    },
}

impl Args {
    /// `name`, or `name-REVISION` if there is a revision: what two control planes side by side don't share.
    pub fn of_revision(&self, name: &str) -> String {
        match self.revision.as_str() {
            "" => name.to_owned(),
            revision => format!("{name}-{revision}"),
        }
    }

    /// This replica's name.
    pub fn identity(&self) -> String {
        let unnamed = || format!("outriggerd-{}", std::process::id());
        self.pod_name.clone().unwrap_or_else(unnamed)
    }

    /// The name under which the API server calls the webhooks through their Service.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service_name, self.namespace)
    }

    /// Everything that the serving certificate is for.
    pub fn certificate_names(&self) -> BTreeSet<String> {
        let short = format!("{}.{}", self.service_name, self.namespace);
        let service = [
            short,
            self.server_name(),
            self.server_name() + ".cluster.local",
        ];
        service
            .into_iter()
            .chain(self.dns_names.iter().cloned())
            .collect()
    }

    /// Which pods may be evicted.
    pub fn eviction_limits(&self) -> Limits {
        Limits {
            missing: self.evict_without_proxy,
            outdated: self.evict_outdated_proxy,
            per_minute: self.evictions_per_minute,
        }
    }

    /// The namespaces whose Secrets are read as credentials of Gateways.
    pub fn credential_namespaces(&self) -> BTreeSet<String> {
        let given = self.credential_namespaces.clone();
        let namespaces = given.unwrap_or_else(|| vec![self.namespace.clone()]);
        namespaces
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The configuration of the injection webhook.
    pub fn mutating_webhook(&self) -> String {
        let default = || self.of_revision("outrigger-sidecar-injector");
        self.mutating_webhook.clone().unwrap_or_else(default)
    }

    /// The configuration of the validation webhook.
    pub fn validating_webhook(&self) -> String {
        let default = || self.of_revision("outrigger-validator");
        self.validating_webhook.clone().unwrap_or_else(default)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn names_that_two_control_planes_must_not_share_carry_the_revision() {
        let of =
            |revision: &str| Args::try_parse_from(["outriggerd", "--revision", revision]).unwrap();
        assert_eq!(of("").mutating_webhook(), "outrigger-sidecar-injector");
        assert_eq!(
            of("canary").mutating_webhook(),
            "outrigger-sidecar-injector-canary"
        );
        assert_eq!(
            of("canary").of_revision("outrigger-leader"),
            "outrigger-leader-canary"
        );
    }

    #[test]
    fn credentials_are_read_in_the_own_namespace_unless_others_or_none_are_named() {
        let of = |flags: &[&str]| {
            let flags = ["outriggerd", "--namespace=mesh"].iter().chain(flags);
            Args::try_parse_from(flags).unwrap().credential_namespaces()
        };
        assert_eq!(of(&[]), BTreeSet::from(["mesh".to_owned()]));
        assert_eq!(of(&["--credential-namespaces="]), BTreeSet::new());
        let named = BTreeSet::from(["edge".to_owned(), "shop".to_owned()]);
        assert_eq!(of(&["--credential-namespaces=shop,edge"]), named);
    }

    #[test]
    fn the_certificate_is_for_the_service_and_for_the_names_that_were_given() {
        let flags = ["outriggerd", "--namespace=mesh", "--dns-name=127.0.0.1"];
        let args = Args::try_parse_from(flags).unwrap();
        assert!(args.certificate_names().contains("outriggerd.mesh.svc"));
        assert!(args.certificate_names().contains("127.0.0.1"));
    }
}
