//! Log lines in the shape that Go controllers write them, so that one pipeline reads both.

use std::fmt::{self, Write as _};
use std::io::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level as TracingLevel, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::args::{Encoding, Level};

/// Sends log lines to standard error from now on. Only the first call counts.
pub fn init(level: Level, encoding: Encoding) {
    let filter = tracing_subscriber::filter::filter_fn(move |metadata| wanted(metadata, level));
    let lines =
        Lines { encoding, write: |line: &str| drop(std::io::stderr().lock().write_all(line.as_bytes())) };
    // Fails when a test or a tool has installed another subscriber, which then stays.
    let _ = Registry::default().with(lines.with_filter(filter)).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // What it says may hold a tenant's data; where it happened does not.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic was caught");
    }));
}

/// Libraries speak only of trouble, and the client not even of that: whoever asked reports it.
fn wanted(metadata: &Metadata<'_>, level: Level) -> bool {
    let own = metadata.target().starts_with("sluice");
    let most = match level {
        _ if ["kube_client", "kube_runtime"].iter().any(|client| metadata.target().starts_with(client)) => {
            return false;
        }
        Level::Error => TracingLevel::ERROR,
        _ if !own => TracingLevel::WARN,
        Level::Info => TracingLevel::INFO,
        Level::Debug => TracingLevel::DEBUG,
        Level::Trace => TracingLevel::TRACE,
    };
    *metadata.level() <= most
}

struct Lines<W> {
    encoding: Encoding,
    write: W,
}

/// The fields of a span, as they go into every line inside it.
struct Fields(Map<String, Value>);

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + Send + Sync + 'static,
{
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        name_object(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Fields(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Map::new();
        event.record(&mut Collect(&mut own));
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev() {
            if let Some(Fields(inherited)) = span.extensions().get::<Fields>() {
                fields.extend(inherited.clone());
            }
        }
        let message = match own.remove("message") {
            Some(Value::String(message)) => message,
            other => other.map(|value| value.to_string()).unwrap_or_default(),
        };
        fields.extend(own);
        let line = match self.encoding {
            Encoding::Json => json_line(*event.metadata().level(), Timestamp::now(), &message, fields),
            Encoding::Console => console_line(*event.metadata().level(), Timestamp::now(), &message, &fields),
        };
        (self.write)(&line);
    }
}

/// Adds the object under its kind, as `{"Kustomization": {"name": .., "namespace": ..}}`.
fn name_object(fields: &mut Map<String, Value>) {
    if let (Some(Value::String(kind)), Some(name), Some(namespace)) =
        (fields.get("controllerKind"), fields.get("name"), fields.get("namespace"))
    {
        let (kind, object) = (kind.clone(), json!({"name": name, "namespace": namespace}));
        fields.insert(kind, object);
    }
}

fn word(level: TracingLevel) -> &'static str {
    match level {
        TracingLevel::TRACE => "trace",
        TracingLevel::DEBUG => "debug",
        TracingLevel::INFO => "info",
        // There is nothing between info and error there.
        TracingLevel::WARN | TracingLevel::ERROR => "error",
    }
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn json_line(level: TracingLevel, at: Timestamp, message: &str, mut fields: Map<String, Value>) -> String {
    let mut line = format!("{{\"level\":\"{}\",\"ts\":\"{}\"", word(level), stamp(at));
    if let Some(logger) = fields.remove("logger") {
        let _ = write!(line, ",\"logger\":{logger}");
    }
    let _ = write!(line, ",\"msg\":{}", Value::from(message));
    for (key, value) in &fields {
        let _ = write!(line, ",{}:{value}", Value::from(key.as_str()));
    }
    line.push_str("}\n");
    line
}

fn console_line(level: TracingLevel, at: Timestamp, message: &str, fields: &Map<String, Value>) -> String {
    let fields = if fields.is_empty() { String::new() } else { format!("\t{}", Value::from(fields.clone())) };
    // Line breaks of tenants must not look like lines of ours.
    let message = message.replace('\n', "\\n");
    format!("{}\t{}\t{message}{fields}\n", stamp(at), word(level).to_uppercase())
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Logs something inside a pass, and returns the lines.
    fn lines(encoding: Encoding, level: Level) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        let layer = Lines { encoding, write: move |line: &str| sink.lock().unwrap().push(line.to_owned()) };
        let filter = tracing_subscriber::filter::filter_fn(move |metadata| wanted(metadata, level));
        tracing::subscriber::with_default(Registry::default().with(layer.with_filter(filter)), || {
            let span = tracing::info_span!(
                "reconcile",
                controller = "kustomization",
                controllerGroup = "kustomize.toolkit.fluxcd.io",
                controllerKind = "Kustomization",
                namespace = "apps",
                name = %"web",
                reconcileID = "1-2-3",
            );
            let _inside = span.enter();
            tracing::info!(target: "sluice_x", revision = "main@sha1:a", count = 3, "applied\n\"all\"");
            tracing::error!(target: "sluice_x", error = %"no such host", "failed");
            tracing::debug!(target: "sluice_x", "detail");
            tracing::info!(target: "rustls", "handshake");
            tracing::error!(target: "kube_client::client", "failed with status 404");
        });
        Arc::try_unwrap(written).unwrap().into_inner().unwrap()
    }

    #[test]
    fn json_lines_have_the_keys_of_go_controllers() {
        let lines = lines(Encoding::Json, Level::Info);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("{\"level\":\"info\",\"ts\":\"2") && lines[0].ends_with("}\n"),
            "{}",
            lines[0]
        );
        let mut info: Value = serde_json::from_str(&lines[0]).unwrap();
        let ts = info.as_object_mut().unwrap().remove("ts").unwrap();
        assert!(ts.as_str().unwrap().len() == 24 && ts.as_str().unwrap().ends_with('Z'), "{ts}");
        assert_eq!(
            info,
            json!({
                "level": "info", "msg": "applied\n\"all\"", "controller": "kustomization",
                "controllerGroup": "kustomize.toolkit.fluxcd.io", "controllerKind": "Kustomization",
                "Kustomization": {"name": "web", "namespace": "apps"}, "namespace": "apps", "name": "web",
                "reconcileID": "1-2-3", "revision": "main@sha1:a", "count": 3,
            })
        );
        let error: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!((&error["level"], &error["error"]), (&json!("error"), &json!("no such host")));
    }

    #[test]
    fn a_console_line_stays_one_line() {
        let lines = lines(Encoding::Console, Level::Debug);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("Z\tINFO\tapplied\\n\"all\"\t{"), "{}", lines[0]);
        assert!(lines.iter().all(|line| line.matches('\n').count() == 1));
    }
}
