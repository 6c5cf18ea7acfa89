//! `avatar serve`: opens what is needed, opens the doors, serves, drains.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use signaling::http::keys::Keys;
use signaling::http::negotiator::Negotiator;
use signaling::http::origins::{self, Origins};
use signaling::http::{self, Doors};
use signaling::peer::{PeerHost, PeerSettings};
use signaling::ws_chat::{self, ChatDoor};
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::info;

use crate::api::{self, ApiState};
use crate::call::admission::{Exchange, SessionDefaults};
use crate::call::allowance::{Allowances, Share};
use crate::config::{Config, TlsMode};
use crate::engines;
use crate::guard::{Guard, with_strict_transport};
use crate::history::retention::{self, Retention};
use crate::history::{History, titles};
use crate::hq;
use crate::keys::KeyStore;
use crate::logging;
use crate::readiness::{Readiness, Unready, bring_up};
use crate::service::{self, ServiceParts};
use crate::tls::{self, Subject};
use crate::voices::Voices;

/// How long a request's head may take to arrive, also on a connection that is kept open.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
const MOST_HEADERS: usize = 64;
/// Longest head, bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// How long calls may go on after the server was told to stop.
const GRACE: Duration = Duration::from_secs(3);

pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    logging::start(&config.log).context("the log cannot be set up")?;
    // What fails fast comes first: a wrong folder or a port in use is told before models are loaded.
    let folder = config.data_folder()?;
    let history = Arc::new(History::open(&folder)?);
    let given = Arc::new(KeyStore::open(&folder)?);
    let listener = listen(config.listen)?;
    let address = listener.local_addr()?;
    find_free(peer_settings(config, address).bind)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let readiness = Arc::new(Readiness::expecting(engines::expected(config)));
        let share = Share::of(&config.limits);
        let exchange = Exchange::new(readiness.clone(), history.clone(), defaults(config), config.max_calls.into())
            .with_allowances(Allowances::new(share, given.clone()));
        let exchange = Arc::new(exchange);
        let peers = Arc::new(PeerHost::start(peer_settings(config, address), exchange.clone())?);
        keep_house(config, &history, &exchange, &readiness);
        let calls = exchange.clone();
        let voices = Arc::new(Voices::open(&history, readiness.clone(), move || calls.active() > 0)?);
        let newsroom = history.news().clone();
        voices.on_change(move |change| newsroom.voice_changed(change.owner.clone(), &change.id, change.word()));
        let state = ApiState { history: history.clone(), exchange: exchange.clone(), readiness: readiness.clone() };
        let keys = Arc::new(Keys::new(config.api_keys.iter().cloned()).with_book(given));
        let stopping = watch::Sender::new(false);
        let router = doors(config, peers.clone(), state, voices.clone(), &keys, stopping.subscribe());
        tokio::spawn(voices.make(stopping.subscribe()));
        open_engines(config, &readiness, stopping.subscribe());
        let rendering = hq::serve(config.clone(), readiness.clone(), history, stopping.subscribe());
        let rendering = tokio::spawn(rendering);
        serve(config, listener, router, &readiness, async {
            exchange.stop();
            stopping.send_replace(true);
            peers.shutdown(GRACE).await;
            exchange.drain(GRACE).await;
            // What it has in hand is put back; should that fail, the next start finds it.
            let _ = tokio::time::timeout(GRACE, rendering).await;
        })
        .await
    });
    // Engines that are still being opened are not waited for any longer.
    runtime.shutdown_timeout(GRACE);
    served.map(|()| ExitCode::SUCCESS)
}

/// What is done with the history when nothing else is to be done.
fn keep_house(config: &Config, history: &Arc<History>, exchange: &Exchange, readiness: &Arc<Readiness>) {
    let settings = &config.history;
    tokio::spawn(retention::run(history.clone(), Retention::of(settings.keep_days, settings.keep_mib)));
    if settings.titles {
        let readiness = readiness.clone();
        tokio::spawn(titles::run(history.clone(), exchange.watch_active(), move || readiness.llm().ok()));
    }
}

/// Beside everything else: the page shows how far it is.
fn open_engines(config: &Config, readiness: &Arc<Readiness>, stopping: watch::Receiver<bool>) {
    let (config, readiness) = (config.clone(), readiness.clone());
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || bring_up(&config, &readiness, &runtime, &stopping));
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "port {} is in use, perhaps by another Avatar; stop it or choose another with --listen",
                address.port()
            )
        }
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("port {} is reserved for root; choose one above 1023 with --listen", address.port())
        }
        _ => anyhow::anyhow!("{address} cannot be listened on: {error}; choose another with --listen"),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether the calls' port can be had; it is taken once the engines are there.
fn find_free(media: SocketAddr) -> anyhow::Result<()> {
    UdpSocket::bind(media).map(drop).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "UDP port {} is in use, perhaps by another Avatar; stop it or choose another with --set udp_port=PORT",
                media.port()
            )
        }
        _ => anyhow::anyhow!("UDP {media} cannot be listened on: {error}; choose another with --set udp_port=PORT"),
    })
}

fn defaults(config: &Config) -> SessionDefaults {
    let session = &config.session;
    SessionDefaults {
        instructions: session.instructions.clone(),
        voice: session.voice.clone(),
        language: session.language.clone(),
        turn_end: session.turn_end(),
        interrupt_response: session.interrupt_response,
        temperature: session.temperature,
        max_reply_tokens: session.max_reply_tokens as usize,
        resume: Duration::from_secs(session.resume_seconds.into()),
        resume_from_history: Duration::from_secs(u64::from(session.resume_hours) * 3_600),
    }
}

fn peer_settings(config: &Config, address: SocketAddr) -> PeerSettings {
    PeerSettings {
        bind: config.media_address(address),
        public: config.public_address.into_iter().collect(),
        ..PeerSettings::default()
    }
}

/// Every route there is. Behind `guard.protect` one is guarded without further thought.
pub(crate) fn doors(
    config: &Config,
    negotiator: Arc<dyn Negotiator>,
    state: ApiState,
    voices: Arc<Voices>,
    keys: &Arc<Keys>,
    stopping: watch::Receiver<bool>,
) -> Router {
    let allowed = Origins::new(config.security.origins.iter().cloned());
    let doors =
        Doors { negotiator, keys: keys.clone(), origins: allowed.clone(), ice_servers: config.ice_servers.clone() };
    let chat = ChatDoor {
        switchboard: state.exchange.clone(),
        keys: keys.clone(),
        recordings: state.history.clone(),
        stopping,
    };
    let service = service::router(ServiceParts {
        readiness: state.readiness.clone(),
        exchange: state.exchange.clone(),
        keys: keys.clone(),
        origins: allowed.clone(),
        session: config.session.clone(),
    });
    let guard = Guard::new(keys.clone(), &config.limits, &config.security);
    let guarded = api::conversations(state.clone())
        .merge(api::voices::router(voices, &config.session.voice))
        .merge(api::ice_servers(&config.ice_servers))
        .merge(api::openapi::router())
        .merge(http::router(doors))
        .merge(ws_chat::router(chat, allowed.clone()))
        .merge(service);
    // Outermost, so that a page may read why it was refused.
    let guarded = origins::guard(guard.protect(guarded), allowed);
    let router = api::with_safe_headers(guard.receive(api::public(state).merge(guarded)));
    if config.tls.mode == TlsMode::Files { with_strict_transport(router) } else { router }
}

/// Serves until the process is told to stop; then `drain`s.
async fn serve(
    config: &Config,
    listener: TcpListener,
    router: Router,
    readiness: &Readiness,
    drain: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let subject = Subject::this_machine(config.public_address);
    let certificate = tls::server_config(&config.tls, &subject, OffsetDateTime::now_utc())?;
    let handle = Handle::new();
    let scheme = if config.tls.mode == TlsMode::Off { "http" } else { "https" };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = async {
        match certificate {
            None => {
                let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
                be_impatient(server.http_builder());
                server.serve(service).await?;
            }
            Some(certificate) => {
                let certificate = RustlsConfig::from_config(certificate);
                let mut server = axum_server::from_tcp_rustls(listener, certificate)?.handle(handle.clone());
                be_impatient(server.http_builder());
                server.serve(service).await?;
            }
        }
        anyhow::Ok(())
    };
    info!("listening on {scheme}://{address} (calls on UDP of the same address)");
    let url = format!("{scheme}://{}", reachable(address));
    super::print(&format!("Avatar is loading its models: follow it on {url}"))?;
    let announce = async {
        match readiness.known().await {
            Ok(_) | Err(Unready::Loading { .. }) => super::print(&format!("Avatar is ready: open {url}"))?,
            Err(Unready::Missing(missing)) => {
                super::print(&format!("Avatar takes no calls, {} is not available: open {url}", missing.what))?;
            }
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        ended = server => return ended.context("the server stopped"),
        told = announce => return told,
        signal = told_to_stop() => signal?,
    }
    info!("stopping; calls have {} s to end", GRACE.as_secs());
    handle.graceful_shutdown(Some(GRACE));
    drain.await;
    Ok(())
}

/// Bounds what a request's head may hold, and how long it may take: hyper answers what is beyond with 431, or hangs up.
fn be_impatient(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD);
}

/// An address a browser on this machine can open.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

async fn told_to_stop() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            received = terminate.recv() => if received.is_none() { bail!("signals cannot be received") },
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
