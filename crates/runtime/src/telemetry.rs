//! What is measured about passes and queues, under the names that dashboards know.

use std::sync::Arc;
use std::time::Duration;

use sluice_api::Managed;
use sluice_types::Retry;

use crate::handle::{Handle, Key};
use crate::metrics::{Family, Kind, Registry};
use crate::pass::Verdict;

/// Ten exponential steps from 10 milliseconds to half an hour.
const RECONCILE: &[f64] = &[
    0.01,
    0.038_362_910_388_449_43,
    0.147_171_288_953_185_9,
    0.564_591_893_010_424_2,
    2.165_938_810_166_172_4,
    8.309_131_647_935_838,
    31.876_047_280_665_07,
    122.285_794_494_047_64,
    469.123_895_630_967_7,
    1800.0,
];
const PASS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25,
    1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0,
    50.0, 60.0,
];
const QUEUE: &[f64] = &[1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0];

/// The families one driver feeds.
pub(crate) struct Telemetry {
    kind: String,
    /// Kind in lower case: the label value of everything but the reconcile duration.
    name: String,
    duration: Arc<Family>,
    total: Arc<Family>,
    errors: Arc<Family>,
    terminal: Arc<Family>,
    panics: Arc<Family>,
    time: Arc<Family>,
    waited: Arc<Family>,
    worked: Arc<Family>,
    quiet: Arc<Family>,
}

impl Telemetry {
    pub(crate) fn new<K: Managed>(registry: &Registry, handle: Handle<K>, workers: usize) -> Self {
        let kind = K::kind(&()).into_owned();
        let name = kind.to_ascii_lowercase();
        watch_queue(&name, registry, handle, workers);
        let controller = &["controller"];
        let queue = &["controller", "name"];
        let telemetry = Self {
            kind,
            duration: registry.family(
                "gotk_reconcile_duration_seconds",
                "The duration in seconds of a GitOps Toolkit resource reconciliation.",
                Kind::Histogram(RECONCILE),
                &["kind", "name", "namespace"],
            ),
            total: registry.counter(
                "controller_runtime_reconcile_total",
                "Total number of reconciliations per controller.",
                &["controller", "result"],
            ),
            errors: registry.counter(
                "controller_runtime_reconcile_errors_total",
                "Total number of reconciliation errors per controller.",
                controller,
            ),
            terminal: registry.counter(
                "controller_runtime_terminal_reconcile_errors_total",
                "Total number of reconciliation errors per controller that are not retried.",
                controller,
            ),
            panics: registry.counter(
                "controller_runtime_reconcile_panics_total",
                "Total number of reconciliation panics per controller.",
                controller,
            ),
            time: registry.family(
                "controller_runtime_reconcile_time_seconds",
                "Length of time per reconciliation per controller.",
                Kind::Histogram(PASS),
                controller,
            ),
            waited: registry.family(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in the queue before it is processed.",
                Kind::Histogram(QUEUE),
                queue,
            ),
            worked: registry.family(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item takes.",
                Kind::Histogram(QUEUE),
                queue,
            ),
            quiet: registry.counter(
                "sluice_quiet_visits_total",
                "Visits that found nothing changed and wrote nothing.",
                controller,
            ),
            name,
        };
        telemetry.begin_at_zero();
        telemetry
    }

    /// Alerts on a rate want the series before the first event.
    fn begin_at_zero(&self) {
        for family in [&self.errors, &self.terminal, &self.panics, &self.quiet] {
            family.add(&[&self.name], 0.0);
        }
        for result in ["success", "requeue_after", "requeue", "error"] {
            self.total.add(&[&self.name, result], 0.0);
        }
    }

    pub(crate) fn began(&self, waited: Duration) {
        self.waited.observe(&[&self.name, &self.name], waited.as_secs_f64());
    }

    pub(crate) fn ended(&self, key: &Key, verdict: Option<&Verdict>, took: Duration) {
        let (seconds, name) = (took.as_secs_f64(), self.name.as_str());
        self.worked.observe(&[name, name], seconds);
        self.time.observe(&[name], seconds);
        self.duration.observe(&[&self.kind, &key.name, &key.namespace], seconds);
        let result = match verdict {
            None | Some(Verdict::Released) => "success",
            Some(Verdict::Ready { .. } | Verdict::Waiting { .. }) => "requeue_after",
            Some(Verdict::Again) => "requeue",
            Some(Verdict::Failed { retry, .. }) => {
                self.errors.inc(&[name]);
                if *retry == Retry::OnChange {
                    self.terminal.inc(&[name]);
                }
                "error"
            }
        };
        self.total.inc(&[name, result]);
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc(&[&self.name]);
    }

    pub(crate) fn quiet(&self) {
        self.quiet.inc(&[&self.name]);
    }

    /// The object is gone, and its series with it.
    pub(crate) fn forget(&self, key: &Key) {
        self.duration.remove(&[&self.kind, &key.name, &key.namespace]);
    }
}

/// Reads the state of the queue whenever somebody asks for metrics.
fn watch_queue<K: Managed>(name: &str, registry: &Registry, handle: Handle<K>, workers: usize) {
    let queue = &["controller", "name"];
    let controller = &["controller"];
    let depth =
        registry.gauge("workqueue_depth", "Current depth of the queue.", &["controller", "name", "priority"]);
    let adds = registry.counter("workqueue_adds_total", "Total number of adds handled by the queue.", queue);
    let retries =
        registry.counter("workqueue_retries_total", "Total number of retries handled by the queue.", queue);
    let unfinished = registry.gauge(
        "workqueue_unfinished_work_seconds",
        "How many seconds of work are in progress and not observed by work_duration yet.",
        queue,
    );
    let longest = registry.gauge(
        "workqueue_longest_running_processor_seconds",
        "How many seconds the longest running worker has been running.",
        queue,
    );
    let active = registry.gauge(
        "controller_runtime_active_workers",
        "Number of workers in use per controller.",
        controller,
    );
    let most = registry.gauge(
        "controller_runtime_max_concurrent_reconciles",
        "Maximum number of concurrent reconciliations per controller.",
        controller,
    );
    let name = name.to_owned();
    registry.on_scrape(move || {
        let load = handle.queue().load();
        let labels = [name.as_str(), name.as_str()];
        depth.set(&[&name, &name, "0"], load.depth as f64);
        adds.set(&labels, load.added as f64);
        retries.set(&labels, load.retried as f64);
        unfinished.set(&labels, load.unfinished);
        longest.set(&labels, load.longest);
        active.set(&[&name], load.running as f64);
        most.set(&[&name], workers as f64);
    });
}
