//! OpenTelemetry out: spans and events of flags arrive at a receiver of OTLP over HTTP as their callers asked, and one that is away
//! costs no answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use hyper::Method;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::{Node, Rig, until};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// A receiver of OTLP over HTTP in this process, and what it was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<(Vec<Span>, Vec<LogRecord>)>>);

// === impl Collector ===

impl Collector {
    async fn listen(&self) -> Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router =
            Router::new().route("/v1/traces", post(traces)).route("/v1/logs", post(logs)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn events(&self) -> Vec<LogRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

async fn traces(State(collector): State<Collector>, body: Bytes) -> Result<(), String> {
    let sent = ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let spans = sent.resource_spans.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).0.extend(spans);
    Ok(())
}

async fn logs(State(collector): State<Collector>, body: Bytes) -> Result<(), String> {
    let sent = ExportLogsServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let records =
        sent.resource_logs.into_iter().flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records);
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).1.extend(records);
    Ok(())
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

async fn start(rig: &Rig, endpoint: &str) -> Result<Node> {
    let shop = Shop::new(rig.path("shop"), "flags")?;
    let banner =
        "actions = [{ id = \"on\", payload = true }, { id = \"off\", payload = false }]\nfallback = [\"on\"]\n";
    shop.placement("banner", banner)?;
    let release = rig.deploy(shop.folder()).await?;
    let spec = rig.spec("edge-1").set(format!("telemetry.otlp.endpoint={endpoint}"));
    // Only those that their callers want.
    let node = Node::start(spec.set("telemetry.otlp.share=0.0")).await?;
    node.runs(&release, LIMIT).await?;
    Ok(node)
}

#[test]
fn spans_and_events_of_flags_go_where_their_callers_want() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let collector = Collector::default();
        let node = start(&rig, &format!("http://{}", collector.listen().await?)).await?;
        let mut client = node.client();
        let trace = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let flag = "/ofrep/v1/evaluate/flags/banner";
        for (path, body, parent) in [
            ("/v1/decide", json!({"placement": "banner"}), None),
            ("/v1/decide", json!({"placement": "banner"}), Some(trace("00"))),
            ("/v1/decide", json!({"placement": "banner"}), Some("nothing of the kind".to_owned())),
            ("/v1/decide", json!({"placement": "banner"}), Some(trace("01"))),
            ("/v1/decide/batch", json!({"placements": [{"placement": "banner"}]}), Some(trace("01"))),
            ("/v1/events", json!({"event": "view_item", "subject": "u-1"}), Some(trace("01"))),
            (flag, json!({"context": {"targetingKey": "u-1"}}), Some(trace("01"))),
            ("/ofrep/v1/evaluate/flags/nothing", json!({}), Some(trace("01"))),
            ("GET /v1/decide", json!({}), Some(trace("01"))),
        ] {
            let parent = parent.as_deref().map(|parent| ("traceparent", parent));
            let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(parent).collect();
            // One that asks nothing has no span.
            let (method, path) = path.strip_prefix("GET ").map_or((Method::POST, path), |path| (Method::GET, path));
            client.send_with(method, path, &headers, body.to_string()).await?;
        }
        until("spans and events at the collector", LIMIT, async || {
            (collector.spans().len() >= 5 && collector.events().len() >= 2).then_some(())
        })
        .await?;
        // A stop sends what waits, so that nothing comes later.
        node.terminate().await?;
        let (spans, events) = (collector.spans(), collector.events());
        ensure!(spans.len() == 5 && events.len() == 2, "{} spans, {} events", spans.len(), events.len());
        for span in &spans {
            ensure!(
                span.trace_id == hex("0af7651916cd43dd8448eb211c80319c")
                    && span.parent_span_id == hex("b7ad6b7169203331")
            );
            ensure!(span.end_time_unix_nano > span.start_time_unix_nano, "no time: {span:?}");
        }
        let of = |name: &str| spans.iter().find(|span| span.name == name).with_context(|| format!("no span {name:?}"));
        let decide = of("POST /v1/decide")?;
        ensure!(text(&decide.attributes, "selvedge.placement").as_deref() == Some("banner"), "{decide:?}");
        ensure!(text(&decide.attributes, "selvedge.decision_id").is_some_and(|id| id.len() == 36), "{decide:?}");
        ensure!(text(&decide.attributes, "selvedge.reason").as_deref() == Some("RULED"), "{decide:?}");
        ensure!(text(&decide.attributes, "http.response.status_code").as_deref() == Some("200"), "{decide:?}");
        ensure!(text(&of("POST /v1/decide/batch")?.attributes, "selvedge.decisions").as_deref() == Some("1"));
        ensure!(text(&of("POST /v1/events")?.attributes, "selvedge.events.accepted").as_deref() == Some("1"));
        let event = |key: &str| {
            let found = events.iter().find(|event| text(&event.attributes, "feature_flag.key").as_deref() == Some(key));
            found.with_context(|| format!("no event of {key:?}"))
        };
        let on = event("banner")?;
        ensure!(on.event_name == "feature_flag.evaluation", "{on:?}");
        ensure!(text(&on.attributes, "feature_flag.result.variant").as_deref() == Some("on"), "{on:?}");
        ensure!(text(&on.attributes, "feature_flag.result.reason").as_deref() == Some("static"), "{on:?}");
        ensure!(text(&on.attributes, "feature_flag.context.id").is_none(), "a person's own id left the node: {on:?}");
        ensure!(
            spans.iter().any(|span| span.span_id == on.span_id && span.trace_id == on.trace_id),
            "in no span: {on:?}"
        );
        let wrong = event("nothing")?;
        ensure!(text(&wrong.attributes, "feature_flag.result.reason").as_deref() == Some("error"), "{wrong:?}");
        ensure!(text(&wrong.attributes, "error.type").as_deref() == Some("flag_not_found"), "{wrong:?}");
        Ok(())
    })
}

#[test]
fn a_collector_that_is_away_costs_no_answer() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        // Taken, and never answered.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let node = start(&rig, &format!("http://{}", silent.local_addr()?)).await?;
        let mut client = node.client();
        let headers = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
        // More than may wait.
        for _ in 0..5_000 {
            let answer = client.send_with(Method::POST, "/v1/decide", &headers, r#"{"placement":"banner"}"#).await?;
            ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.text());
        }
        let metrics = node.metrics().await?;
        let (made, dropped) =
            (metrics.sum("selvedge_otlp_spans_total", &[]), metrics.sum("selvedge_otlp_spans_dropped_total", &[]));
        ensure!(made + dropped == 5_000.0 && dropped > 0.0, "{made} spans made, {dropped} dropped");
        drop(silent);
        let failed = until("a request to the collector to fail", LIMIT, async || {
            (node.metrics().await.ok()?.sum("selvedge_otlp_failed_total", &[]) > 0.0).then_some(())
        });
        failed.await?;
        let (_, status) = node.terminate().await?;
        ensure!(status.success(), "a stop in time exits 0: {status}");
        Ok(())
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}
