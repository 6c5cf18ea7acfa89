//! The thread that talks to servers, and what keeps its connections.
//!
//! One thread for all remote engines: it waits far more than it works. Connections are kept and used again; none goes through a
//! proxy, whatever the environment says, and a redirect is an answer like any other. TLS is verified against the roots that
//! come with the program, and those of `ca_file`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::failure::Failure;
use crate::error::EngineError;

/// Connections without work that are kept for the next request, of each server, and for how long.
const IDLE_CONNECTIONS: usize = 8;
const IDLE: Duration = Duration::from_secs(90);
/// What is read of a server ahead of who takes it; a request line and headers must fit.
const READ_AHEAD: usize = 256 * 1024;
/// No host has more certificate authorities of its own.
const MOST_AUTHORITIES: usize = 64;

/// How connections are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSettings {
    /// How long connecting may take.
    pub connect: Duration,
    /// PEM file with further certificate authorities to believe.
    pub ca_file: Option<std::path::PathBuf>,
}

/// A thread with an input-output runtime for engines that have none of their own. It ends with the last handle; what runs on it
/// is dropped.
pub struct IoThread {
    handle: Handle,
    #[expect(dead_code, reason = "held for its drop, which ends the thread")]
    stop: oneshot::Sender<()>,
}

impl IoThread {
    pub fn start() -> Result<Arc<Self>, EngineError> {
        let failed = |error: std::io::Error| EngineError::Failed {
            engine: "remote engines",
            reason: format!("no thread for them: {error}"),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new()
            .name("remote".into())
            .spawn(move || {
                let _ = runtime.block_on(stopped);
            })
            .map_err(failed)?;
        Ok(Arc::new(Self { handle, stop }))
    }

    /// Runs `work` until it ends, or the thread does.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Waits for `work`, which runs on the thread; `None` if the thread has ended. Not for a task of an async runtime.
    pub(crate) fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        self.handle.spawn(async move { drop(tx.send(work.await)) });
        rx.recv().ok()
    }
}

/// The connections of all remote engines.
pub struct Network {
    io: Arc<IoThread>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Network {
    pub fn new(io: Arc<IoThread>, settings: &NetworkSettings) -> Result<Arc<Self>, EngineError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(settings.connect));
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(READ_AHEAD)
            .build(connector);
        Ok(Arc::new(Self { io, client }))
    }

    pub(super) fn io(&self) -> &IoThread {
        &self.io
    }

    /// Sends a request; the answer's head. Dropping the future, or the answer's body before its end, closes the connection.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.client.request(request).await.map_err(|error| {
            let reason = innermost(&error);
            if error.is_connect() { Failure::Connection(reason) } else { Failure::Broken(reason) }
        })
    }
}

/// What really happened; the layers above it say "client error".
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, EngineError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = ca_file {
        let corrupt = |reason: String| EngineError::Corrupt {
            path: path.to_owned(),
            reason,
            hint: "name a PEM file with certificates as ca_file in [remote]".into(),
        };
        let file = File::open(path).map_err(|error| corrupt(error.to_string()))?;
        let mut found = 0;
        for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)).take(MOST_AUTHORITIES) {
            let certificate = certificate.map_err(|error| corrupt(error.to_string()))?;
            roots.add(certificate).map_err(|error| corrupt(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(corrupt("it holds no certificate".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| EngineError::Failed { engine: "TLS", reason: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
