//! Reading from a cluster by kubeconfig, for commands that can also work on files.

mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};

pub use world::Denied;

/// Where the control plane is, unless said otherwise.
const ISTIO_NAMESPACE: &str = "istio-system";
/// How long a connection to the API server may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long the API server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Which cluster: kubectl's flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Connection {
    /// The kubeconfig; without it `$KUBECONFIG` or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Which cluster, and which namespace of it: kubectl's flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Access {
    #[command(flatten)]
    connection: Connection,
    /// The namespace; without it that of the context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The namespace of the control plane, whose mesh configuration is read [default: istio-system]
    #[arg(short, long, value_name = "NAMESPACE")]
    istio_namespace: Option<String>,
}

/// A client of a cluster, and what runs its requests.
pub struct Connected {
    /// The client.
    pub client: kube::Client,
    /// Waits for its answers.
    pub runtime: tokio::runtime::Runtime,
    default_namespace: String,
}

/// A cluster that was reached by kubeconfig. Requests are made one by one, and waited for.
pub struct Cluster {
    /// Namespace of the flags, or of the context.
    pub namespace: String,
    /// The client, for what this type has no function for; see [`Self::wait`].
    pub client: kube::Client,
    runtime: tokio::runtime::Runtime,
    istio_namespace: String,
}

impl Connection {
    /// Reads the kubeconfig and makes the client; nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// The kubeconfig can't be read, or names what is not there.
    pub fn connect(&self) -> anyhow::Result<Connected> {
        // Fails where one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = runtime
            .block_on(async {
                match &self.kubeconfig {
                    Some(path) => {
                        let file = Kubeconfig::read_from(path)?;
                        kube::Config::from_custom_kubeconfig(file, &options).await
                    }
                    None => kube::Config::from_kubeconfig(&options).await,
                }
            })
            .context("reading the kubeconfig")?;
        config.connect_timeout = Some(CONNECT_TIME);
        config.read_timeout = Some(SILENCE);
        let default_namespace = config.default_namespace.clone();
        let client = {
            let _entered = runtime.enter();
            kube::Client::try_from(config).context("using the kubeconfig")?
        };
        Ok(Connected {
            client,
            runtime,
            default_namespace,
        })
    }
}

impl Access {
    /// Reads the kubeconfig and makes the client; nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// The kubeconfig can't be read, or names what is not there.
    pub fn connect(&self) -> anyhow::Result<Cluster> {
        let Connected {
            client,
            runtime,
            default_namespace,
        } = self.connection.connect()?;
        Ok(Cluster {
            namespace: self.namespace.clone().unwrap_or(default_namespace),
            client,
            runtime,
            istio_namespace: self
                .istio_namespace
                .clone()
                .unwrap_or_else(|| ISTIO_NAMESPACE.to_owned()),
        })
    }
}

impl Cluster {
    /// Waits for an answer.
    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// A pod of the namespace, as the cluster has it.
    ///
    /// # Errors
    /// There is none, or the cluster doesn't answer.
    pub fn pod(&self, name: &str) -> anyhow::Result<serde_json::Value> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = self
            .wait(pods.get(name))
            .with_context(|| format!("pod {name:?} of namespace {:?}", self.namespace))?;
        Ok(serde_json::to_value(pod)?)
    }
}
