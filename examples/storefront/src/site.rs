//! What the shop answers: pages with their decisions inside, files, the catalogue, orders, and what stands behind the counter.
//! `/v1/…` goes to a node.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode};
use selvedge_suite::harness::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::balancer::Balancer;
use crate::http::{self, Answers, Body, json, refuse, reply};
use crate::page::{self, Route, Visitor};
use crate::scoreboard::Scoreboard;
use crate::stage::SetCore;
use crate::stock::{Line, Stock};

/// Where pages ask and tell.
pub(crate) const DECIDE: &str = "/v1/browser/decide";
pub(crate) const EVENTS: &str = "/v1/browser/events";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The shop.
pub(crate) struct Site {
    /// Pages, styles and scripts.
    pub(crate) folder: PathBuf,
    /// The browser SDK as it is built, which pages find under `sdk/`.
    pub(crate) sdk: PathBuf,
    pub(crate) shop: PathBuf,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) stock: Arc<Stock>,
    pub(crate) scoreboard: Arc<Scoreboard>,
    /// By the tag in the ids of their decisions, the names of the nodes.
    pub(crate) tags: BTreeMap<u32, String>,
    pub(crate) core: Core,
}

/// The core as the counter shows it, and who starts and stops it.
pub(crate) struct Core {
    pub(crate) url: String,
    pub(crate) is_up: AtomicBool,
    pub(crate) stage: mpsc::Sender<SetCore>,
}

#[derive(Deserialize)]
struct Order {
    lines: Vec<Line>,
}

/// Whether the core shall run.
#[derive(Deserialize)]
struct Switch {
    up: bool,
}

/// What somebody counted on a shelf.
#[derive(Deserialize)]
struct Count {
    id: String,
    stock: u32,
}

// === impl Site ===

impl Answers for Site {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let visitor = match Visitor::of(request.headers()) {
            Ok(visitor) => visitor,
            Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
        };
        let path = request.uri().path().to_owned();
        if path.starts_with("/v1/") {
            return self.balancer.forward(request, &visitor.session).await;
        }
        let method = request.method().clone();
        let answered = match (&method, path.as_str()) {
            (&Method::GET, "/catalogue.json") => Ok(json(&self.stock.catalogue().public())),
            (&Method::GET, "/counter.json") => self.counter().await,
            (&Method::GET, path) if path.starts_with("/assets/") => Ok(self.file(&path["/assets/".len()..])),
            (&Method::GET, path) => self.page(path, &visitor).await,
            (&Method::POST, "/order") => self.order(request).await,
            (&Method::POST, "/why") => self.why(request, &visitor).await,
            (&Method::POST, "/counter/core") => self.core(request).await,
            (&Method::POST, "/counter/stock") => self.count(request).await,
            _ => Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "there is no such thing to do here")),
        };
        let mut response =
            answered.unwrap_or_else(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")));
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("same-origin"));
        response
    }
}

impl Site {
    async fn page(&self, path: &str, visitor: &Visitor) -> Result<Response<Body>> {
        let shell = std::fs::read_to_string(self.folder.join("index.html"))?;
        let (routes, written) = Route::read(&self.folder)?;
        let catalogue = self.stock.catalogue();
        let request = Route::request(&routes, path, &catalogue, visitor);
        let status = if request.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let mut bootstrap = request.unwrap_or_else(|| visitor.bootstrap());
        bootstrap["decisions"] = json!([]);
        if bootstrap["placements"].as_array().is_some_and(|all| !all.is_empty()) {
            let mut asked = bootstrap.clone();
            asked.as_object_mut().and_then(|asked| asked.remove("decisions"));
            match self.balancer.post(DECIDE, asked.to_string(), &visitor.session).await {
                Ok(answer) => bootstrap["decisions"] = answer["decisions"].clone(),
                // A page without decisions is drawn all the same, in the order of the catalogue.
                Err(error) => eprintln!("{path} without decisions: {error:#}"),
            }
        }
        let start = json!({
            "bootstrap": bootstrap, "catalogue": catalogue.public(), "routes": written,
            "paths": {"decide": DECIDE, "events": EVENTS},
        });
        let mut response = reply(status, "text/html; charset=utf-8", page::render(&shell, &start));
        for cookie in visitor.cookies() {
            response.headers_mut().append(SET_COOKIE, HeaderValue::from_str(&cookie)?);
        }
        Ok(response)
    }

    /// How a placement would be decided for this visitor now, with everything that counts. Pages cannot ask a node for that,
    /// because it tells features: the shop's own server does, and chooses to show them.
    async fn why(&self, request: Request<Incoming>, visitor: &Visitor) -> Result<Response<Body>> {
        let mut ask: Value = match parsed(request).await {
            Ok(ask) => ask,
            Err(refused) => return Ok(refused),
        };
        if !ask.is_object() {
            return Ok(refuse(StatusCode::BAD_REQUEST, "expected an object with a placement"));
        }
        ask["subject"] = visitor.subject.as_str().into();
        ask["session"] = visitor.session.as_str().into();
        ask["explain"] = true.into();
        Ok(match self.balancer.post("/v1/decide", ask.to_string(), &visitor.session).await {
            Ok(answer) => json(&answer),
            Err(error) => refuse(StatusCode::BAD_REQUEST, &format!("{error:#}")),
        })
    }

    /// A file of the site.
    fn file(&self, name: &str) -> Response<Body> {
        let path = Path::new(name);
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("json" | "map") => "application/json",
            _ => return refuse(StatusCode::NOT_FOUND, "there is no such file"),
        };
        let file = match path.strip_prefix("sdk") {
            Ok(part) => self.sdk.join(part),
            Err(_) => self.folder.join(path),
        };
        match std::fs::read(file) {
            Ok(bytes) if is_inside => reply(StatusCode::OK, kind, bytes),
            Ok(_) | Err(_) => refuse(StatusCode::NOT_FOUND, "there is no such file"),
        }
    }

    async fn order(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let order: Order = match parsed(request).await {
            Ok(order) => order,
            Err(refused) => return Ok(refused),
        };
        Ok(match self.stock.order(&order.lines) {
            Ok(()) => json(&json!({"ordered": order.lines.len()})),
            Err(error) => refuse(StatusCode::CONFLICT, &format!("{error:#}")),
        })
    }

    async fn count(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let count: Count = match parsed(request).await {
            Ok(count) => count,
            Err(refused) => return Ok(refused),
        };
        Ok(match self.stock.set(&count.id, count.stock) {
            Ok(()) => json(&json!({"id": count.id, "stock": count.stock})),
            Err(error) => refuse(StatusCode::NOT_FOUND, &format!("{error:#}")),
        })
    }

    async fn core(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let switch: Switch = match parsed(request).await {
            Ok(switch) => switch,
            Err(refused) => return Ok(refused),
        };
        let (done, told) = oneshot::channel();
        self.core.stage.send(SetCore { up: switch.up, done }).await.context("the stage is gone")?;
        told.await.context("the stage is gone")??;
        self.core.is_up.store(switch.up, Ordering::Relaxed);
        Ok(json(&json!({"up": switch.up})))
    }

    /// What stands behind the counter: the nodes, the core, and what the policy learned beside the truth.
    async fn counter(&self) -> Result<Response<Body>> {
        let mut nodes = Vec::new();
        for backend in self.balancer.backends() {
            let mut admin = Client::new(backend.admin);
            let status = match admin.get("/v1/status").await {
                Ok(answer) => answer.json().unwrap_or_default(),
                Err(_) => Value::Null,
            };
            let tag = self.tags.iter().find(|(_, name)| **name == backend.name).map(|(tag, _)| *tag);
            nodes.push(json!({
                "name": backend.name, "tag": tag, "http": backend.http, "admin": backend.admin,
                "release": status["releases"]["active"]["release"], "is_up": !status.is_null(),
            }));
        }
        Ok(json(&json!({
            "nodes": nodes, "core": {"url": self.core.url, "up": self.core.is_up.load(Ordering::Relaxed)},
            "apart": self.balancer.is_apart(), "shop": self.shop, "learning": self.scoreboard.json(),
        })))
    }
}

/// A body's JSON, or the refusal that says what is wrong with it.
async fn parsed<T: for<'de> Deserialize<'de>>(request: Request<Incoming>) -> Result<T, Response<Body>> {
    let bytes = http::read(request.into_body()).await;
    let bytes = bytes.map_err(|error| refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("{error:#}")))?;
    serde_json::from_slice(&bytes).map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("{error}")))
}
