//! The webhook server calls itself over TLS, as the API server does: only that proves that it can be called.

use std::{collections::BTreeSet, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use super::readiness::{Readiness, Task};
use crate::kubernetes::{cabundle::Published, certificates};

/// Until the first success.
const RETRY: Duration = Duration::from_secs(2);
/// After it.
const REPEAT: Duration = Duration::from_secs(60);
/// How long one call may take.
const CALL_TIME: Duration = Duration::from_secs(5);

/// One webhook configuration, as it is published.
pub struct Configuration {
    /// Its kind and name, for people.
    pub name: String,
    /// Its bundles.
    pub published: watch::Receiver<Published>,
}

/// What is checked.
pub struct SelfCheck {
    /// Where the webhook server listens.
    pub address: SocketAddr,
    /// The name under which the API server calls it.
    pub server_name: String,
    /// What it serves.
    pub certificates: watch::Receiver<certificates::State>,
    /// What the API server trusts.
    pub configurations: [Configuration; 2],
}

/// Why the API server could not call the webhooks.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Certificate(String),
    #[error("{0} is not read yet")]
    Unread(String),
    #[error("{0} has an entry without caBundle; the leader publishes it")]
    Unpublished(String),
    #[error("{name:?} is no DNS name: {error}")]
    Name {
        name: String,
        error: InvalidDnsNameError,
    },
    #[error("the bundle that is published holds no certificate")]
    Bundle,
    #[error("calling {address} with the bundle that is published: {error}")]
    Call {
        address: SocketAddr,
        error: io::Error,
    },
}

impl SelfCheck {
    /// Calls until it succeeds, which ends `task`; then now and then, with a remark when it fails. Replicas are not
    /// taken out of service for that: with a wrong bundle none would be left, and calls fail either way.
    pub async fn run(
        mut self,
        task: Task,
        readiness: Readiness,
        registered: Gauge,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = pin!(shutdown);
        let mut task = Some(task);
        loop {
            let checked = self.check().await;
            registered.set(i64::from(checked.is_ok()));
            match (&checked, &task) {
                (Ok(()), _) => {
                    readiness.remark("webhooks", None);
                    task = None;
                }
                (Err(failure), Some(task)) => task.note(failure.to_string()),
                (Err(failure), None) => {
                    tracing::warn!(%failure, "the API server cannot call the webhooks of this replica");
                    readiness.remark("webhooks", Some(failure.to_string()));
                }
            }
            let pause = if checked.is_ok() { REPEAT } else { RETRY };
            let next = Instant::now() + pause;
            let [mutating, validating] = &mut self.configurations;
            tokio::select! {
                () = &mut shutdown => return,
                Ok(()) = self.certificates.changed() => {}
                Ok(()) = mutating.published.changed() => {}
                Ok(()) = validating.published.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    async fn check(&mut self) -> Result<(), Failure> {
        for bundle in self.bundles()? {
            self.call(&bundle).await?;
        }
        Ok(())
    }

    /// The bundles that the API server uses; before any configuration is installed, the one that will be published.
    fn bundles(&mut self) -> Result<BTreeSet<Vec<u8>>, Failure> {
        let state = self.certificates.borrow_and_update().clone();
        let Some(material) = state.material else {
            return Err(Failure::Certificate(state.problem.unwrap_or_default()));
        };
        let mut bundles = BTreeSet::new();
        for configuration in &mut self.configurations {
            match &*configuration.published.borrow_and_update() {
                Published::Unknown => return Err(Failure::Unread(configuration.name.clone())),
                Published::Absent => {}
                Published::Bundles(published) => {
                    for bundle in published {
                        match bundle {
                            Some(bundle) => bundles.insert(bundle.clone()),
                            None => return Err(Failure::Unpublished(configuration.name.clone())),
                        };
                    }
                }
            }
        }
        if bundles.is_empty() {
            bundles.insert(material.bundle.clone().into_bytes());
        }
        Ok(bundles)
    }

    async fn call(&self, bundle: &[u8]) -> Result<(), Failure> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok);
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(Failure::Bundle);
        }
        let name =
            ServerName::try_from(self.server_name.clone()).map_err(|error| Failure::Name {
                name: self.server_name.clone(),
                error,
            })?;
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(tls));
        let called = match timeout(CALL_TIME, get(self.address, connector, name)).await {
            Ok(called) => called,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        };
        called.map_err(|error| Failure::Call {
            address: self.address,
            error,
        })
    }
}

/// One request over TLS. Any answer will do: it proves the certificate, and that somebody answers.
async fn get(
    address: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<()> {
    let host = name.to_str().into_owned();
    let stream = TcpStream::connect(address).await?;
    let stream = connector.connect(name, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = Request::get("/")
        .header("host", host)
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let answer = async { sender.send_request(request).await.map(|_| ()) };
    let (answered, _) = tokio::join!(answer, connection);
    answered.map_err(io::Error::other)
}

/// The metric of the self-check.
pub fn register(registry: &mut Registry) -> Gauge {
    let gauge = Gauge::default();
    registry.register(
        "webhook_self_check",
        "1 while this replica's webhooks answer over TLS with a chain to the published caBundle",
        gauge.clone(),
    );
    gauge
}
