//! OpenTelemetry out: a span for each request, and an event for each flag that was evaluated, sent by OTLP over HTTP to a collector. Owns
//! what stands in them and how much of it may wait; off unless an endpoint is set. Nothing here waits on the request path: what finds no
//! room is dropped, and `/metrics` says how much.

mod counted;
mod send;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use self::counted::{Counted, Items};
use self::send::Sender;
use crate::clock::Clock;

/// What makes them, as collectors show it.
const SCOPE: &str = "selvedge";
/// How long something waits for more before it is sent.
const EVERY: Duration = Duration::from_secs(1);
/// How long one sending may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Where they go and how many.
#[derive(Debug, Clone)]
pub struct OtlpConfig {
    /// The collector, such as `http://127.0.0.1:4318`; empty for none.
    pub endpoint: String,
    /// The share of requests that get a span when their caller does not say, from 0 to 1.
    pub share: f64,
    /// The most spans that wait to be sent, and the most events.
    pub max_queue: usize,
    /// The node's name.
    pub node: String,
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "telemetry.otlp.endpoint {endpoint:?}: {why}; expected a collector's address such as \"http://127.0.0.1:4318\""
)]
pub struct BadEndpoint {
    endpoint: String,
    why: String,
}

/// Makes spans and events, or does nothing. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Otlp(Option<Arc<Sending>>);

#[derive(Debug)]
struct Sending {
    tracer: SdkTracer,
    tracers: SdkTracerProvider,
    logger: SdkLogger,
    loggers: SdkLoggerProvider,
    spans: Items,
    events: Items,
    max_queue: u64,
    clock: Clock,
}

/// The span of one request; it ends when it is dropped.
#[derive(Debug)]
pub struct RequestSpan {
    sending: Arc<Sending>,
    span: Span,
}

/// The headers of W3C Trace Context.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// `traceparent`.
    pub parent: Option<&'a str>,
    /// `tracestate`.
    pub state: Option<&'a str>,
}

/// A flag that was evaluated, or was not.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// The flag's key.
    pub key: String,
    /// The decision's id; `None` for an error.
    pub decision_id: Option<String>,
    /// The variant; `None` for an error, or when nothing was chosen.
    pub variant: Option<Arc<str>>,
    /// Why, in OpenFeature's words.
    pub reason: &'static str,
    /// Of the release.
    pub version: Option<String>,
    /// Of the error.
    pub error: Option<(&'static str, String)>,
    /// Whom for, where that is a hash.
    pub context_id: Option<String>,
}

// === impl Otlp ===

impl Otlp {
    /// Starts sending, if there is an endpoint. What OpenTelemetry says of the environment holds: `OTEL_EXPORTER_OTLP_HEADERS` for a
    /// token, `OTEL_RESOURCE_ATTRIBUTES`.
    pub fn start(config: &OtlpConfig, clock: Clock, registry: &mut Registry) -> Result<Self, BadEndpoint> {
        if config.endpoint.is_empty() {
            return Ok(Self::default());
        }
        let bad = |why: String| BadEndpoint { endpoint: config.endpoint.clone(), why };
        let base = config.endpoint.trim_end_matches('/');
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(bad("is neither http:// nor https://".into()));
        }
        let (sent, failed) = (Counter::default(), Counter::default());
        let sender = Arc::new(Sender::new(WITHIN, sent.clone(), failed.clone()).map_err(|why| bad(why.to_string()))?);
        let spans = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_timeout(WITHIN);
        let spans = spans.with_endpoint(format!("{base}/v1/traces")).with_shared_http_client(sender.clone());
        let spans = spans.build().map_err(|why| bad(why.to_string()))?;
        let events = LogExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_timeout(WITHIN);
        let events = events.with_endpoint(format!("{base}/v1/logs")).with_shared_http_client(sender);
        let events = events.build().map_err(|why| bad(why.to_string()))?;
        let (span_items, event_items) = (Items::default(), Items::default());
        let max_queue = config.max_queue as u64;
        let resource = Resource::builder()
            .with_service_name(SCOPE)
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", config.node.clone()),
            ])
            .build();
        let waiting = trace::BatchConfigBuilder::default()
            .with_max_queue_size(config.max_queue)
            .with_scheduled_delay(EVERY)
            .build();
        let tracers = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.share))))
            .with_span_processor(
                BatchSpanProcessor::builder(Counted::new(spans, &span_items)).with_batch_config(waiting).build(),
            )
            .with_resource(resource.clone())
            .build();
        let waiting = logs::BatchConfigBuilder::default()
            .with_max_queue_size(config.max_queue)
            .with_scheduled_delay(EVERY)
            .build();
        let loggers = SdkLoggerProvider::builder()
            .with_log_processor(
                BatchLogProcessor::builder(Counted::new(events, &event_items)).with_batch_config(waiting).build(),
            )
            .with_resource(resource)
            .build();
        span_items.register("spans", registry);
        event_items.register("events", registry);
        registry.register("selvedge_otlp_sent", "Requests to the collector that it took", sent);
        registry.register("selvedge_otlp_failed", "Requests to the collector that it did not take", failed);
        let (tracer, logger) = (tracers.tracer(SCOPE), loggers.logger(SCOPE));
        Ok(Self(Some(Arc::new(Sending {
            tracer,
            tracers,
            logger,
            loggers,
            spans: span_items,
            events: event_items,
            max_queue,
            clock,
        }))))
    }

    /// Whether anything is sent.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request, if it gets one: as its caller says, else in the configured share.
    pub fn request(&self, method: &'static str, route: &'static str, caller: Caller<'_>) -> Option<RequestSpan> {
        let sending = self.0.clone()?;
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &caller);
        let attributes = [KeyValue::new("http.request.method", method), KeyValue::new("http.route", route)];
        let builder = SpanBuilder::from_name(format!("{method} {route}")).with_kind(SpanKind::Server);
        let span = sending.tracer.build_with_context(builder.with_attributes(attributes), &parent);
        if !span.is_recording() {
            return None;
        }
        if !sending.spans.has_room(sending.max_queue) {
            return None;
        }
        Some(RequestSpan { sending, span })
    }

    /// Sends what waits. Its threads wait for the collector, so this is no call for a thread that serves.
    pub fn stop(&self) {
        let Some(sending) = &self.0 else { return };
        for stopped in [sending.tracers.shutdown(), sending.loggers.shutdown()] {
            if let Err(error) = stopped {
                tracing::warn!(%error, "some spans or events were not sent");
            }
        }
    }
}

// === impl RequestSpan ===

impl RequestSpan {
    /// An attribute.
    pub fn say(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// How it was answered; a span has an error when the fault is the node's.
    pub fn answered(&mut self, status: u16) {
        self.say("http.response.status_code", i64::from(status));
        if status >= 400 {
            self.say("error.type", status.to_string());
        }
        if status >= 500 {
            self.span.set_status(Status::error(""));
        }
    }

    /// The event of a flag, `feature_flag.evaluation` of OpenTelemetry's semantic conventions, in this span's trace.
    pub fn evaluated(&mut self, flag: Evaluation) {
        if !self.sending.events.has_room(self.sending.max_queue) {
            return;
        }
        let mut event = self.sending.logger.create_log_record();
        let now = UNIX_EPOCH + Duration::from_micros(self.sending.clock.now_us().max(0) as u64);
        event.set_event_name("feature_flag.evaluation");
        event.set_timestamp(now);
        event.set_observed_timestamp(now);
        event.set_severity_number(Severity::Info);
        let context = self.span.span_context();
        event.set_trace_context(context.trace_id(), context.span_id(), Some(context.trace_flags()));
        let mut add = |key: &'static str, value: Option<String>| {
            if let Some(value) = value {
                event.add_attribute(key, AnyValue::from(value));
            }
        };
        add("feature_flag.key", Some(flag.key));
        add("feature_flag.provider.name", Some(SCOPE.to_owned()));
        add("feature_flag.result.variant", flag.variant.map(|variant| variant.to_string()));
        add("feature_flag.result.reason", Some(flag.reason.to_ascii_lowercase()));
        add("feature_flag.version", flag.version);
        add("feature_flag.context.id", flag.context_id);
        if let Some((kind, message)) = flag.error {
            add("error.type", Some(kind.to_owned()));
            add("error.message", Some(message));
        }
        self.sending.logger.emit(event);
    }
}

// === impl Caller ===

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.parent,
            "tracestate" => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
