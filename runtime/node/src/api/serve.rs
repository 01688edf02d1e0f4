//! A listener: accepts, bounds and drains connections, in the clear or by TLS. Owns how long a client may take for what it sends and for
//! taking what it is answered, how long an idle connection is kept, and how a stop finishes them.

mod answers;
mod taken;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;

use self::answers::{Answer, Answers};
use self::taken::Taken;
use super::tls::{H2, Tls};

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests of one HTTP/2 connection at once: of a browser's tabs each has a stream open, and fewer the protocol advises against.
const MAX_STREAMS: u32 = 100;
/// Bytes of each of them that wait to be sent: what a client that takes nothing makes a connection hold.
const MAX_UNSENT: usize = 64 << 10;

/// The bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeConfig {
    /// Connections at once.
    pub max_connections: usize,
    /// How long a request's head may take, how long a client may take nothing of what it is answered, and how long an idle connection is
    /// kept.
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
        // With all places taken, too, a stop is heard.
        let accepted = tokio::select! {
            accepted = accept(&listening, &places) => accepted,
            () = told(&mut stop) => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
                let stream = Taken::new(ready(stream), config.client_timeout);
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => Box::pin(encrypted(stream, &tls, router, config, stop)).await,
                        None => connection(stream, router, config, stop).await,
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

/// The next connection, once there is a place for it.
async fn accept(listening: &Listening, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    Ok((listening.listener.accept().await?.0, place))
}

fn ready(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set nodelay");
    }
    stream
}

/// Agrees on TLS, with the certificate as it is now, then on the protocol.
async fn encrypted(
    stream: Taken<TcpStream>,
    tls: &Tls,
    router: Router,
    config: ServeConfig,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.get()));
    let agreed = tokio::select! {
        agreed = tokio::time::timeout(HANDSHAKE.min(config.client_timeout), acceptor.accept(stream)) => agreed,
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

/// The same over HTTP/2. A connection whose other end is gone is found out by a ping. One whose client takes nothing of an answer is cut:
/// its window, not the connection, is what stands still then, and pings come back all the same. One without a request is asked to end.
async fn connection_2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    config: ServeConfig,
    mut stop: watch::Receiver<bool>,
) {
    let (answers, within) = (Answers::new(), config.client_timeout);
    let (service, open) = (TowerToHyperService::new(router), answers.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (place, answered) = (open.begin(), service.call(request));
        async move { answered.await.map(|response| response.map(|body| Answer::new(body, place))) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(within)
        .keep_alive_timeout(within)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_UNSENT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut look = tokio::time::interval((within / 4).max(Duration::from_millis(1)));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_stopping, mut asked_to_end) = (false, None);
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = told(&mut stop), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                if answers.is_stuck(within) {
                    tracing::debug!("a client took nothing of an answer for too long");
                    return;
                }
                let is_idle = answers.is_idle(within);
                match asked_to_end {
                    None if is_idle => {
                        asked_to_end = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(since) if is_idle && since.elapsed() >= within => return,
                    _ => {}
                }
            }
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

#[cfg(test)]
mod tests;
