#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;

use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper::{Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(500);
/// Longer than anything here may take; a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(30);
/// More than all buffers between two ends hold.
const LARGE: usize = 64 << 20;

fn config(max_connections: usize) -> ServeConfig {
    ServeConfig { max_connections, client_timeout: TIMEOUT, stop_within: Duration::from_millis(200) }
}

/// `/small` and `/large` are answered, `/never` is not, `/late` is by parts with more time between them than a client may take.
fn router() -> Router {
    let late = || async {
        let parts = futures_util::stream::unfold(0, |at| async move {
            tokio::time::sleep(TIMEOUT * 2).await;
            (at < 2).then_some((Ok::<_, Infallible>("part"), at + 1))
        });
        Body::from_stream(parts)
    };
    Router::new()
        .route("/small", get(|| async { "small" }))
        .route("/large", get(|| async { vec![7; LARGE] }))
        .route("/never", get(std::future::pending::<&str>))
        .route("/late", get(late))
}

/// A listener with so many places.
async fn listener(max_connections: usize) -> (SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
    let listening = Listening::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, (stop, stops)) = (listening.address, watch::channel(false));
    let served = tokio::spawn(serve(listening, None, router(), config(max_connections), stops));
    (address, stop, served)
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n").as_bytes()).await.unwrap();
    socket
}

/// A page asked for a large answer and reads nothing of it: its place is another's soon.
#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let (address, _stop, _served) = listener(1).await;
    let deaf = ask(address, "/large").await;
    let mut other = ask(address, "/small").await;
    let mut answer = [0; 12];
    tokio::time::timeout(LIMIT, other.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(deaf);
}

/// With every place taken by a request that does not end, a stop took all the time that it had.
#[tokio::test]
async fn a_stop_is_heard_with_all_places_taken() {
    let (address, stop, served) = listener(1).await;
    let busy = ask(address, "/never").await;
    // It has the only place when one that came after it gets no answer for as long as an answer takes.
    let mut waiting = ask(address, "/small").await;
    assert!(tokio::time::timeout(TIMEOUT / 2, waiting.read_u8()).await.is_err());
    stop.send_replace(true);
    tokio::time::timeout(LIMIT, served).await.unwrap().unwrap();
    drop(busy);
}

/// A client of HTTP/2 with windows of so many bytes, and the server's end.
async fn two(window: u32) -> (SendRequest<Empty<Bytes>>, JoinHandle<()>, watch::Sender<bool>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (stop, stops) = watch::channel(false);
    let served = tokio::spawn(connection_2(far, router(), config(1), stops));
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(near))
        .await
        .unwrap();
    tokio::spawn(async move { drop(connection.await) });
    (sender, served, stop)
}

async fn get_2(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Response<Incoming> {
    let request = Request::get(format!("http://here{path}")).body(Empty::new()).unwrap();
    let response = tokio::time::timeout(LIMIT, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response
}

/// Its pings come back, and its window stays shut.
#[tokio::test]
async fn a_client_of_http_2_that_takes_nothing_is_cut() {
    let (mut sender, served, _stop) = two(64 << 10).await;
    let answer = get_2(&mut sender, "/large").await;
    tokio::time::timeout(LIMIT, served).await.unwrap().unwrap();
    drop(answer);
    let refused = sender.send_request(Request::get("http://here/small").body(Empty::new()).unwrap()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn an_answer_of_http_2_that_the_node_is_slow_with_goes_on() {
    let (mut sender, _served, _stop) = two(64 << 10).await;
    let late = get_2(&mut sender, "/late").await;
    let body = tokio::time::timeout(LIMIT, late.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(body.to_bytes(), "partpart");
    let large = get_2(&mut sender, "/large").await;
    assert_eq!(large.headers()["content-length"], LARGE.to_string());
    let body = tokio::time::timeout(LIMIT, large.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(body.to_bytes().len(), LARGE);
}

#[tokio::test]
async fn a_connection_of_http_2_without_a_request_ends() {
    let (mut sender, served, _stop) = two(64 << 10).await;
    let small = get_2(&mut sender, "/small").await;
    assert_eq!(small.into_body().collect().await.unwrap().to_bytes(), "small");
    tokio::time::timeout(LIMIT, served).await.unwrap().unwrap();
    assert!(sender.ready().await.is_err(), "the client was told");
}
