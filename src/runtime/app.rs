//! The wiring of `outriggerd`: the only place where its parts meet.

mod pods;
mod uninstall;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use kube::{
    Api, Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use super::{
    admin,
    args::Args,
    config::{self, Config},
    debug, logs,
    readiness::{Readiness, Task},
    self_check::{self, SelfCheck},
    shutdown::{self, Shutdown, Signals},
    tasks::Tasks,
};
use crate::{
    analysis::Snapshot,
    api::kind::Kind,
    inject,
    kubernetes::{
        cabundle::{self, CaBundle, Configuration, Published},
        certificates::{self, Certificates, Served},
        engine::{self, Engine},
        events::{EventWriter, Notices},
        healer::{Answers, Sources},
        lease::{self, Election, Leadership},
        nodes, removal,
        services::ServiceWriter,
        status::{self, StatusWriter},
        watch::{self as watches, Definitions, Input, Source, States, Watch},
    },
    webhook,
};

/// How long a connection to the API server may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long the API server may be silent on a connection before that is given up: longer than it may be on an idle
/// watch, which is [`watches::LIFE`].
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

/// The certificates of the webhooks, and what the API server knows of them.
struct WebhookTrust {
    served: Arc<Served>,
    certificates: watch::Receiver<certificates::State>,
    configurations: [self_check::Configuration; 2],
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
            &mut self.registry,
        );
        self.tasks.spawn("lease", election.run(self.ending()));
        let (snapshots, states) = self.start_engine(&config, &leadership);
        let trust = self.start_certificates(&leadership);
        let injection = self.start_injection(config)?;
        let announcements = self.start_announcer();
        let notices = self.start_notices(announcements.clone());
        let complete = move || status::can_judge(&states.borrow());
        let router = webhook::inject::Injector::new(injection.clone(), &mut self.registry)
            .with_snapshots(snapshots.clone())
            .with_notices(notices)
            .router()
            .merge(
                webhook::validate::Validator::new(
                    snapshots.clone(),
                    Arc::new(complete),
                    &mut self.registry,
                )
                .router(),
            );
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

    /// Watches, the engine that they feed, and the writers that it feeds.
    fn start_engine(
        &mut self,
        config: &watch::Receiver<Arc<Config>>,
        leadership: &Leadership,
    ) -> (watch::Receiver<Arc<Snapshot>>, watch::Receiver<States>) {
        let (inputs, queue) = mpsc::channel(engine::QUEUE);
        let states = watch::Sender::new(States::new());
        let metrics = watches::Metrics::register(&mut self.registry);
        let definitions = Definitions::default();
        let namespaces = self.args.credential_namespaces();
        let secrets = namespaces
            .iter()
            .map(|namespace| Source::secrets(namespace));
        let sources: Vec<Source> = Kind::cluster_wide()
            .map(Source::from)
            .chain(secrets)
            .collect();
        for source in sources.clone() {
            let (client, inputs) = (self.client.clone(), inputs.clone());
            let states = states.clone();
            let name = format!("watch of {source}");
            let is_config = source.kind == Kind::ConfigMap;
            let mut watch = Watch::new(client, source, inputs, states, &definitions, &metrics);
            if is_config {
                // Of all ConfigMaps only the one with the injector's values says anything.
                watch = watch.only(&self.args.namespace, &self.args.of_revision("outrigger"));
            }
            self.tasks.spawn(name, watch.run(self.ending()));
        }
        let settings = config.borrow().settings.clone();
        let forwarding = forward_settings(config.clone(), inputs.clone(), self.ending());
        self.tasks.spawn("settings", forwarding);
        let mut engine = Engine::new(queue, settings, sources, &mut self.registry);
        let snapshots = engine.snapshots();
        if self.args.revision.is_empty() {
            self.start_writers(&mut engine, inputs, leadership);
        }
        self.tasks.spawn("engine", engine.run(self.ending()));
        let waiting = self.readiness.block("watches", "the first lists");
        let report = report_watches(
            states.subscribe(),
            snapshots.clone(),
            waiting,
            self.readiness.clone(),
            self.ending(),
        );
        self.tasks.spawn("report of watches", report);
        (snapshots, states.subscribe())
    }

    /// Status, ports of gateways, and events, which only the default revision writes.
    fn start_writers(
        &mut self,
        engine: &mut Engine,
        inputs: mpsc::Sender<Input>,
        leadership: &Leadership,
    ) {
        let (events, notices) = EventWriter::new(
            self.client.clone(),
            self.args.identity(),
            leadership.clone(),
            &mut self.registry,
        );
        self.start_status(engine, leadership, notices.clone());
        let services = ServiceWriter::new(
            self.client.clone(),
            engine.changes(),
            inputs,
            leadership.clone(),
            notices,
            &mut self.registry,
        );
        self.tasks
            .spawn("gateway Services", services.run(self.ending()));
        self.tasks.spawn("events", events.run(self.ending()));
    }

    /// The status writer, or what removes its work where it is switched off.
    fn start_status(&mut self, engine: &mut Engine, leadership: &Leadership, notices: Notices) {
        if !self.args.write_status {
            let clearing =
                removal::keep_clear(self.client.clone(), leadership.clone(), self.ending());
            self.tasks.spawn("removal of status", clearing);
            return;
        }
        let status = StatusWriter::new(
            self.client.clone(),
            engine.changes(),
            leadership.clone(),
            notices,
            &mut self.registry,
        );
        self.tasks.spawn("status", status.run(self.ending()));
    }

    /// The webhooks' certificates, and their roots in the webhook configurations.
    fn start_certificates(&mut self, leadership: &Leadership) -> WebhookTrust {
        let settings = certificates::Settings {
            namespace: self.args.namespace.clone(),
            name: self.args.secret_name.clone(),
            names: self.args.certificate_names(),
        };
        let (keeper, served, certificates) = Certificates::new(
            self.client.clone(),
            settings,
            leadership.clone(),
            &mut self.registry,
        );
        self.tasks.spawn("certificates", keeper.run(self.ending()));
        let metrics = cabundle::Metrics::register(&mut self.registry);
        let configurations = [
            (Configuration::Mutating, self.args.mutating_webhook()),
            (Configuration::Validating, self.args.validating_webhook()),
        ]
        .map(|(kind, name)| {
            let published = self.start_ca_bundle(kind, &name, leadership, &certificates, &metrics);
            let name = format!("{} {name}", kind.kind());
            self_check::Configuration { name, published }
        });
        WebhookTrust {
            served,
            certificates,
            configurations,
        }
    }

    fn start_ca_bundle(
        &mut self,
        kind: Configuration,
        name: &str,
        leadership: &Leadership,
        certificates: &watch::Receiver<certificates::State>,
        metrics: &cabundle::Metrics,
    ) -> watch::Receiver<Published> {
        let (keeper, published) = CaBundle::new(
            self.client.clone(),
            kind,
            name.to_owned(),
            self.args.of_revision("outrigger-webhooks"),
            leadership.clone(),
            certificates.clone(),
            metrics.clone(),
        );
        self.tasks
            .spawn(format!("caBundle of {name}"), keeper.run(self.ending()));
        published
    }

    /// The webhook server, and the check that it can be called, whose answer is returned.
    fn start_webhooks(
        &mut self,
        listener: TcpListener,
        trust: WebhookTrust,
        router: axum::Router,
    ) -> Answers {
        let [injection, _] = &trust.configurations;
        let published = injection.published.clone();
        let check = SelfCheck {
            address: reachable(listener.local_addr().unwrap_or(self.args.webhook_addr)),
            server_name: self.args.server_name(),
            certificates: trust.certificates,
            configurations: trust.configurations,
        };
        let waiting = self.readiness.block("webhooks", "their certificates");
        let gauge = self_check::register(&mut self.registry);
        let checked = gauge.clone();
        let checking = check.run(waiting, self.readiness.clone(), gauge, self.ending());
        self.tasks.spawn("self-check", checking);

        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(trust.served);
        let serving = webhook::server::serve(
            listener,
            Arc::new(tls),
            router,
            webhook::server::Limits::default(),
            self.ending(),
        );
        self.tasks.spawn("webhooks", serving);
        Arc::new(move || checked.get() == 1 && matches!(*published.borrow(), Published::Bundles(_)))
    }

    /// The settings of injection, which depend on what the nodes can.
    fn start_injection(
        &mut self,
        config: watch::Receiver<Arc<Config>>,
    ) -> anyhow::Result<watch::Receiver<Arc<inject::Config>>> {
        let nodes = watch::Sender::new(None);
        let known = nodes.subscribe();
        self.tasks.spawn(
            "nodes",
            nodes::run(self.client.clone(), nodes, self.ending()),
        );
        let first = config.borrow().injection(false).context("--config-dir")?.0;
        let (sender, injection) = watch::channel(Arc::new(first));
        let waiting = self.readiness.block("injection", "the nodes");
        let following = config::follow_injection(config, known, sender, waiting, self.ending());
        self.tasks.spawn("injection", following);
        Ok(injection)
    }
}

/// Hands new settings to the engine.
async fn forward_settings(
    mut config: watch::Receiver<Arc<Config>>,
    inputs: mpsc::Sender<Input>,
    shutdown: impl Future<Output = ()>,
) {
    let forward = async {
        while config.changed().await.is_ok() {
            let settings = config.borrow_and_update().settings.clone();
            if inputs.send(Input::Settings(settings)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = forward => {}
    }
}

/// Where this process itself reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Tells `/readyz` how far the watches have come, until the first Snapshot is there, and what may not be read.
async fn report_watches(
    mut states: watch::Receiver<States>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    waiting: Task,
    readiness: Readiness,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut waiting = Some(waiting);
    loop {
        let now = states.borrow_and_update().clone();
        for (source, state) in &now {
            let denied = matches!(state, watches::State::Denied(_));
            let consequence = match source.namespace {
                Some(_) => "what names them is not checked",
                None => "no status is written while verdicts need it",
            };
            let remark = denied.then(|| format!("{state}; {consequence}"));
            readiness.remark(&source.to_string(), remark);
        }
        if let Some(task) = &waiting {
            task.note(unlisted(&now));
        }
        tokio::select! {
            () = &mut shutdown => return,
            Ok(()) = states.changed() => {}
            Ok(()) = snapshots.changed(), if waiting.is_some() => waiting = None,
        }
    }
}

/// The kinds that are not listed yet, and why.
fn unlisted(states: &States) -> String {
    let unlisted = states
        .iter()
        .filter(|(_, state)| matches!(state, watches::State::Waiting | watches::State::Failing(_)));
    let texts: Vec<String> = unlisted
        .map(|(source, state)| format!("{source} {state}"))
        .collect();
    if texts.is_empty() {
        return "the first snapshot".to_owned();
    }
    texts.join(", ")
}
