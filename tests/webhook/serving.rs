//! The webhook served in this process, with a certificate of its own.

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use outrigger::{
    api::mesh::MeshConfig,
    inject::{Config, values::Values},
    webhook::{
        inject::Injector,
        server::{self, Limits},
    },
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longer than anything here takes; a test that reaches it has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: SocketAddr,
    /// The certificate, for clients that take PEM.
    pub certificate: String,
    pub done: JoinHandle<()>,
    client: Arc<ClientConfig>,
    stop: Option<oneshot::Sender<()>>,
    _held: Box<dyn Any + Send>,
}

impl Server {
    pub async fn start(limits: Limits) -> Self {
        Self::start_with(limits, true).await
    }

    pub async fn start_with(limits: Limits, native_sidecars: bool) -> Self {
        let values = Values::over_defaults(&Value::Null).unwrap();
        let (config, problems) = Config::new(values, MeshConfig::default(), native_sidecars);
        assert!(problems.is_empty(), "{problems:?}");
        let (sender, config) = watch::channel(Arc::new(config));
        let mut registry = prometheus_client::registry::Registry::default();
        let router = Injector::new(config, &mut registry).router();
        Self::serve(limits, router, Box::new(sender)).await
    }

    /// Serves `router`; `held` are senders that must not count as gone.
    pub async fn serve(limits: Limits, router: axum::Router, held: Box<dyn Any + Send>) -> Self {
        let (tls, client, certificate) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let done = tokio::spawn(server::serve(listener, tls, router, limits, shutdown));
        Self {
            address,
            certificate,
            client,
            stop: Some(stop),
            done,
            _held: held,
        }
    }

    pub async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::clone(&self.client))
            .connect(ServerName::try_from("webhook.test").unwrap(), stream)
            .await
            .unwrap()
    }

    pub async fn post(&self, content_type: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let (mut send, connection) = http1::handshake(TokioIo::new(self.connect().await))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::post("/inject")
            .header("host", "webhook.test")
            .header("content-type", content_type)
            .body(Full::new(body.into()))
            .unwrap();
        let response = timeout(DEADLINE, send.send_request(request))
            .await
            .unwrap()
            .unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, body)
    }

    pub async fn review(&self, review: &Value) -> Value {
        let (status, body) = self.post("application/json", review.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).unwrap()
    }

    pub fn begin_shutdown(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

/// A server's configuration with a fresh certificate, and a client's that trusts it.
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>, String) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made =
        rcgen::generate_simple_self_signed(["webhook.test".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client), made.cert.pem())
}

pub fn review(version: &str, pod: Value) -> Value {
    json!({
        "apiVersion": format!("admission.k8s.io/{version}"),
        "kind": "AdmissionReview",
        "request": {
            "uid": "uid-1",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "operation": "CREATE",
            "namespace": "default",
            "object": pod,
        },
    })
}

pub fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    })
}
