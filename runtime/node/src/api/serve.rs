//! A listener: accepts, bounds and drains connections, in the clear or by TLS. Owns the time a client may take and how a stop finishes
//! them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::tls::{H2, Tls};

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests of one HTTP/2 connection at once: so many that a page never waits, so few that a connection is not worth a hundred.
const MAX_STREAMS: u32 = 100;

/// The bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeConfig {
    /// Connections at once.
    pub max_connections: usize,
    /// How long a request's head may take, and how long an idle connection is kept.
    pub client_timeout: Duration,
    /// How long a stop waits for requests to finish.
    pub stop_within: Duration,
}

/// A bound listener.
pub struct Listening {
    listener: TcpListener,
    /// Where it listens, the port being the real one.
    pub address: SocketAddr,
}

// === impl Listening ===

impl Listening {
    /// Binds `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

/// Serves until `stop` says so, then lets running requests finish within the configured time. With `tls`, nothing in the clear.
pub async fn serve(
    listening: Listening,
    tls: Option<Arc<Tls>>,
    router: Router,
    config: ServeConfig,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(config.max_connections));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listening.listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => Box::pin(encrypted(stream, &tls, router, config, stop)).await,
                        None => connection(ready(stream), router, config, stop).await,
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: the connections that are open must end first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listening);
    let all = places.acquire_many(config.max_connections.min(u32::MAX as usize) as u32);
    if tokio::time::timeout(config.stop_within, all).await.is_err() {
        tracing::warn!("some connections did not finish in time and are cut");
    }
}

fn ready(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    stream
}

/// Agrees on TLS, with the certificate as it is now, then on the protocol.
async fn encrypted(stream: TcpStream, tls: &Tls, router: Router, config: ServeConfig, mut stop: watch::Receiver<bool>) {
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.get()));
    let agreed = tokio::select! {
        agreed = tokio::time::timeout(HANDSHAKE.min(config.client_timeout), acceptor.accept(ready(stream))) => agreed,
        () = told(&mut stop) => return,
    };
    match agreed {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
            connection_2(stream, router, config, stop).await;
        }
        Ok(Ok(stream)) => connection(stream, router, config, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a client did not agree on TLS"),
        Err(_) => tracing::debug!("a client took too long to agree on TLS"),
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    config: ServeConfig,
    mut stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.client_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// The same over HTTP/2. A connection whose other end is gone is found out by a ping.
async fn connection_2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    config: ServeConfig,
    mut stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(config.client_timeout)
        .keep_alive_timeout(config.client_timeout)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// Waits for the stop; the borrow of the channel's value ends here, so that what follows may wait, too.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
