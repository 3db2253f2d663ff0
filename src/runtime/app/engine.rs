//! Watches, the engine, and the writers behind it.

use std::{pin::pin, sync::Arc};

use tokio::sync::{mpsc, watch};

use super::App;
use crate::{
    analysis::Snapshot,
    api::kind::Kind,
    kubernetes::{
        engine::{self, Changes, Engine},
        events::{EventWriter, Notices},
        lease::Leadership,
        removal,
        services::ServiceWriter,
        status::StatusWriter,
        watch::{self as watches, Definitions, Input, Source, States, Watch},
    },
    runtime::{
        config::Config,
        readiness::{Readiness, Task},
    },
};

/// What the engine is asked for by the parts beside the writers.
pub(super) struct Derived {
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub states: watch::Receiver<States>,
    /// For what injection needs to know of the nodes.
    pub nodes: Changes,
}

impl App {
    /// Watches, the engine that they feed, and the writers that it feeds.
    pub(super) fn start_engine(
        &mut self,
        config: &watch::Receiver<Arc<Config>>,
        leadership: &Leadership,
    ) -> Derived {
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
        let nodes = engine.changes();
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
        Derived {
            snapshots,
            states: states.subscribe(),
            nodes,
        }
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
            let counters = removal::Counters::register(&mut self.registry);
            let (client, leadership) = (self.client.clone(), leadership.clone());
            let clearing = removal::keep_clear(client, leadership, counters, self.ending());
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

/// Tells `/readyz` how far the watches have come, until the first Snapshot is there, and what may not be read.
async fn report_watches(
    mut states: watch::Receiver<States>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    waiting: Task,
    readiness: Readiness,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
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
