//! A small registry of metrics, and their classic text form (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use crate::lock::lock;

/// Content type of [`Registry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of values a family holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations, sorted into buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Metrics of one name, told apart by the values of their labels.
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    series: Mutex<BTreeMap<Box<[Box<str>]>, Series>>,
}

enum Series {
    Value(f64),
    Histogram { buckets: Box<[u64]>, sum: f64, count: u64 },
}

impl Family {
    fn with(&self, values: &[&str], change: impl FnOnce(&mut Series)) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let mut series = lock(&self.series);
        change(series.entry(key(values)).or_insert_with(|| match self.kind {
            Kind::Counter | Kind::Gauge => Series::Value(0.0),
            Kind::Histogram(bounds) => {
                Series::Histogram { buckets: vec![0; bounds.len()].into(), sum: 0.0, count: 0 }
            }
        }));
    }

    /// Adds to a counter or gauge.
    pub fn add(&self, values: &[&str], amount: f64) {
        self.with(values, |series| {
            if let Series::Value(value) = series {
                *value += amount;
            }
        });
    }

    /// Adds one to a counter or gauge.
    pub fn inc(&self, values: &[&str]) {
        self.add(values, 1.0);
    }

    /// Sets a gauge.
    pub fn set(&self, values: &[&str], to: f64) {
        self.with(values, |series| {
            if let Series::Value(value) = series {
                *value = to;
            }
        });
    }

    /// Records an observation in a histogram.
    pub fn observe(&self, values: &[&str], observation: f64) {
        let Kind::Histogram(bounds) = self.kind else { return };
        self.with(values, |series| {
            if let Series::Histogram { buckets, sum, count } = series {
                *sum += observation;
                *count += 1;
                for (bucket, bound) in buckets.iter_mut().zip(bounds) {
                    if observation <= *bound {
                        *bucket += 1;
                    }
                }
            }
        });
    }

    /// Drops one series.
    pub fn remove(&self, values: &[&str]) {
        lock(&self.series).remove(&key(values));
    }

    /// The value of a counter or gauge, or the number of observations.
    pub fn value(&self, values: &[&str]) -> f64 {
        match lock(&self.series).get(&key(values)) {
            Some(Series::Value(value)) => *value,
            Some(Series::Histogram { count, .. }) => *count as f64,
            None => 0.0,
        }
    }

    fn render(&self, out: &mut String) {
        let series = lock(&self.series);
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        if series.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", self.name, self.help, self.name);
        for (values, series) in series.iter() {
            match (series, self.kind) {
                (Series::Value(value), _) => {
                    let _ = writeln!(out, "{}{} {value}", self.name, self.labelled(values, None));
                }
                (Series::Histogram { buckets, sum, count }, Kind::Histogram(bounds)) => {
                    for (bound, bucket) in bounds.iter().zip(buckets) {
                        let labels = self.labelled(values, Some(&bound.to_string()));
                        let _ = writeln!(out, "{}_bucket{labels} {bucket}", self.name);
                    }
                    let _ =
                        writeln!(out, "{}_bucket{} {count}", self.name, self.labelled(values, Some("+Inf")));
                    let _ = writeln!(out, "{}_sum{} {sum}", self.name, self.labelled(values, None));
                    let _ = writeln!(out, "{}_count{} {count}", self.name, self.labelled(values, None));
                }
                _ => {}
            }
        }
    }

    fn labelled(&self, values: &[Box<str>], bound: Option<&str>) -> String {
        let mut pairs: Vec<String> = self
            .labels
            .iter()
            .zip(values)
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        pairs.extend(bound.map(|bound| format!("le=\"{bound}\"")));
        if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
    }
}

fn key(values: &[&str]) -> Box<[Box<str>]> {
    values.iter().map(|value| Box::from(*value)).collect()
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

type Probe = Box<dyn Fn() + Send + Sync>;

/// Every family of a process.
#[derive(Default)]
pub struct Registry {
    families: Mutex<BTreeMap<&'static str, Arc<Family>>>,
    probes: Mutex<Vec<Probe>>,
}

impl Registry {
    /// The family of this name, made at its first mention.
    pub fn family(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
    ) -> Arc<Family> {
        lock(&self.families)
            .entry(name)
            .or_insert_with(|| Arc::new(Family { name, help, kind, labels, series: Mutex::default() }))
            .clone()
    }

    /// A counter.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Arc<Family> {
        self.family(name, help, Kind::Counter, labels)
    }

    /// A gauge.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Arc<Family> {
        self.family(name, help, Kind::Gauge, labels)
    }

    /// Runs before every [`Registry::render`], to set gauges from state that lives elsewhere.
    pub fn on_scrape(&self, probe: impl Fn() + Send + Sync + 'static) {
        lock(&self.probes).push(Box::new(probe));
    }

    /// The text form of everything.
    pub fn render(&self) -> String {
        lock(&self.probes).iter().for_each(|probe| probe());
        let mut out = String::new();
        for family in lock(&self.families).values() {
            family.render(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_that_of_version_0_0_4() {
        let registry = Registry::default();
        let requests = registry.counter("requests_total", "Requests.", &["code", "host"]);
        requests.inc(&["200", "a\"b\\c\nd"]);
        requests.add(&["200", "a\"b\\c\nd"], 2.0);
        let seconds = registry.family("seconds", "Time.", Kind::Histogram(&[0.5, 10.0]), &[]);
        seconds.observe(&[], 0.5);
        seconds.observe(&[], 3.25);
        seconds.observe(&[], 60.0);
        registry.gauge("silent", "Nothing yet.", &["x"]);
        let depth = registry.gauge("depth", "Depth.", &[]);
        registry.on_scrape(move || depth.set(&[], 7.0));
        assert_eq!(
            registry.render(),
            "# HELP depth Depth.\n# TYPE depth gauge\ndepth 7\n\
             # HELP requests_total Requests.\n# TYPE requests_total counter\n\
             requests_total{code=\"200\",host=\"a\\\"b\\\\c\\nd\"} 3\n\
             # HELP seconds Time.\n# TYPE seconds histogram\n\
             seconds_bucket{le=\"0.5\"} 1\nseconds_bucket{le=\"10\"} 2\nseconds_bucket{le=\"+Inf\"} 3\n\
             seconds_sum 63.75\nseconds_count 3\n"
        );
    }

    #[test]
    fn a_series_goes_with_its_object() {
        let registry = Registry::default();
        let family = registry.counter("x", "X.", &["name"]);
        family.inc(&["a"]);
        family.inc(&["b"]);
        family.remove(&["a"]);
        assert_eq!((family.value(&["a"]), family.value(&["b"])), (0.0, 1.0));
    }
}
