//! A TLS client that trusts the roots it is given and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

pub struct Client(TlsConnector);

impl Client {
    /// A client that trusts these roots (PEM).
    pub fn new(roots: &[u8]) -> Client {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots) {
            store.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store)
            .with_no_client_auth();
        Client(TlsConnector::from(Arc::new(config)))
    }

    /// Connects to a server that must have a certificate of this name.
    pub async fn connect(&self, server: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from(name.to_owned())?;
        Ok(self.0.connect(name, stream).await?)
    }

    /// The certificate that a server shows in a handshake, which succeeds.
    pub fn certificate_of(
        &self,
        server: SocketAddr,
        name: &str,
    ) -> Result<CertificateDer<'static>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stream = runtime.block_on(self.connect(server, name))?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().context("no certificates")?;
        Ok(chain
            .first()
            .context("no certificate")?
            .clone()
            .into_owned())
    }
}
