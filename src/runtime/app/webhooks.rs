//! The webhooks' server, its certificates, and what the API server knows of them.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{net::TcpListener, sync::watch};

use super::App;
use crate::{
    kubernetes::{
        cabundle::{self, CaBundle, Configuration, Published},
        certificates::{self, Certificates, Served},
        healer::Answers,
        lease::Leadership,
    },
    runtime::self_check::{self, SelfCheck},
    webhook::server::{Limits, serve},
};

/// The certificates of the webhooks, and what the API server knows of them.
pub(super) struct WebhookTrust {
    served: Arc<Served>,
    certificates: watch::Receiver<certificates::State>,
    configurations: [self_check::Configuration; 2],
}

impl App {
    /// The webhooks' certificates, and their roots in the webhook configurations.
    pub(super) fn start_certificates(&mut self, leadership: &Leadership) -> WebhookTrust {
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
    pub(super) fn start_webhooks(
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
        let serving = serve(
            listener,
            Arc::new(tls),
            router,
            Limits::default(),
            self.ending(),
        );
        self.tasks.spawn("webhooks", serving);
        Arc::new(move || checked.get() == 1 && matches!(*published.borrow(), Published::Bundles(_)))
    }
}

/// Where this process itself reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
