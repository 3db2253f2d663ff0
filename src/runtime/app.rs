//! The wiring of `outriggerd`: the only place where its parts meet.

mod engine;
mod pods;
mod uninstall;
mod webhooks;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use kube::{
    Api, Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch};

use super::{
    admin,
    args::Args,
    config::{self, Config},
    debug, logs,
    readiness::Readiness,
    shutdown::{self, Shutdown, Signals},
    tasks::Tasks,
};
use crate::{
    inject,
    kubernetes::{
        engine::Changes,
        healer::Sources,
        lease::{self, Election},
        nodes, status,
    },
    webhook::{inject::Injector, validate::Validator},
};
use engine::Derived;

/// How long a connection to the API server may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long the API server may be silent on a connection before that is given up: longer than it may be on an idle
/// watch, which is [`LIFE`](crate::kubernetes::watch::LIFE).
const SILENCE: Duration = Duration::from_secs(90);

/// Runs the control plane until a signal ends it.
///
/// # Errors
/// When it can't start (the message names the flag), and when a part of it ends early.
pub async fn run(args: Args) -> anyhow::Result<()> {
    logs::init(args.log_format, &args.log_level)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is installed already"))?;
    if let Some(command) = args.command.clone() {
        return uninstall::run(&args, command).await;
    }
    let signals = Signals::install().context("cannot handle signals")?;
    let (trigger, shutdown) = shutdown::channel();
    let config = Config::read(&args.config_dir).context("--config-dir")?;
    let listeners = Listeners::bind(&args).await?;
    let [client, asks_once] = clients(&args).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = args.identity(),
        namespace = args.namespace,
        revision = args.revision,
        webhooks = %listeners.webhook.local_addr()?,
        admin = %listeners.admin.local_addr()?,
        debug = %listeners.debug.local_addr()?,
        "outriggerd starts"
    );
    let mut app = App {
        args,
        client,
        asks_once,
        registry: Registry::with_prefix("outrigger"),
        readiness: Readiness::default(),
        shutdown,
        tasks: Tasks::default(),
    };
    app.start(config, listeners)?;
    let App {
        tasks, readiness, ..
    } = app;
    tasks.supervise(signals, trigger, readiness).await
}

/// The sockets, bound before anything else is done, so that a bad address is told at once.
struct Listeners {
    webhook: TcpListener,
    admin: TcpListener,
    debug: TcpListener,
}

impl Listeners {
    async fn bind(args: &Args) -> anyhow::Result<Self> {
        Ok(Self {
            webhook: admin::bind("--webhook-addr", args.webhook_addr).await?,
            admin: admin::bind("--admin-addr", args.admin_addr).await?,
            debug: admin::bind_loopback("--debug-addr", args.debug_addr).await?,
        })
    }
}

/// A client that repeats what the API server has no time for, and one that does not.
async fn clients(args: &Args) -> anyhow::Result<[Client; 2]> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let flag = || format!("--kubeconfig {}", path.display());
            let kubeconfig = Kubeconfig::read_from(path).with_context(flag)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(flag)?
        }
        None => kube::Config::infer().await.context(
            "cannot tell how to reach the API server; give --kubeconfig, or run in a pod with a service account",
        )?,
    };
    config.connect_timeout = Some(CONNECT_TIME);
    config.read_timeout = Some(SILENCE);
    // A request on a connection that has been idle has all the time, too.
    config.reset_reader_on_write = true;
    let mut asks_once = config.clone();
    asks_once.default_retry = false;
    let client =
        |config| Client::try_from(config).context("cannot make a client of the API server");
    Ok([client(config)?, client(asks_once)?])
}

/// What parts are made with.
struct App {
    args: Args,
    client: Client,
    /// Repeats nothing by itself.
    asks_once: Client,
    registry: Registry,
    readiness: Readiness,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl App {
    fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shutdown.clone().requested()
    }

    fn start(&mut self, config: Config, listeners: Listeners) -> anyhow::Result<()> {
        let config = self.start_config(config);
        let (election, leadership) = Election::new(
            Api::namespaced(self.client.clone(), &self.args.namespace),
            self.args.of_revision(lease::NAME),
            self.args.identity(),
        );
        election.register(&mut self.registry);
        self.tasks.spawn("lease", election.run(self.ending()));
        let Derived {
            snapshots,
            states,
            nodes,
        } = self.start_engine(&config, &leadership);
        let trust = self.start_certificates(&leadership);
        let injection = self.start_injection(config, nodes)?;
        let announcements = self.start_announcer(snapshots.clone());
        let notices = self.start_notices(announcements.clone());
        let injector = Injector::new(injection.clone(), &mut self.registry)
            .with_snapshots(snapshots.clone())
            .with_notices(notices);
        let complete = move || status::can_judge(&states.borrow());
        let validator = Validator::new(snapshots.clone(), Arc::new(complete), &mut self.registry);
        let router = injector.router().merge(validator.router());
        let answers = self.start_webhooks(listeners.webhook, trust, router);
        let sources = Sources {
            snapshots: snapshots.clone(),
            config: injection,
            answers,
        };
        self.start_healer(sources, leadership, announcements);
        // Last: from here on, the registry holds every metric.
        let registry = Arc::new(std::mem::take(&mut self.registry));
        let pages = admin::pages(self.readiness.clone(), registry);
        self.tasks
            .spawn("admin", admin::serve(listeners.admin, pages, self.ending()));
        let pages = debug::pages(snapshots);
        self.tasks
            .spawn("debug", admin::serve(listeners.debug, pages, self.ending()));
        Ok(())
    }

    /// Follows the files of `--config-dir`.
    fn start_config(&mut self, config: Config) -> watch::Receiver<Arc<Config>> {
        let (sender, receiver) = watch::channel(Arc::new(config));
        let metrics = config::Metrics::register(&mut self.registry);
        let following = config::follow(
            self.args.config_dir.clone(),
            sender,
            self.readiness.clone(),
            metrics,
            self.ending(),
        );
        self.tasks.spawn("config", following);
        receiver
    }

    /// The settings of injection, which depend on what the nodes can.
    fn start_injection(
        &mut self,
        config: watch::Receiver<Arc<Config>>,
        nodes: Changes,
    ) -> anyhow::Result<watch::Receiver<Arc<inject::Config>>> {
        let native = watch::Sender::new(None);
        let known = native.subscribe();
        self.tasks
            .spawn("nodes", nodes::run(nodes, native, self.ending()));
        let first = config.borrow().injection(false).context("--config-dir")?.0;
        let (sender, injection) = watch::channel(Arc::new(first));
        let waiting = self.readiness.block("injection", "the nodes");
        let following = config::follow_injection(config, known, sender, waiting, self.ending());
        self.tasks.spawn("injection", following);
        Ok(injection)
    }
}
