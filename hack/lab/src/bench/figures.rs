//! Figures, their aims, and how they are shown.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use sluice_testkit::GitServer;

use super::costs::{self, Phase};
use super::floor::Floors;

/// What the controllers may add to the time that the server alone needs.
const OVER_FLOOR: f64 = 1.25;

/// All figures of one run.
#[derive(Serialize)]
pub(crate) struct Report {
    server: &'static str,
    cores: usize,
    concurrent: u16,
    figures: Vec<Figure>,
    phases: Vec<Phase>,
    /// How long the server itself takes for the requests of a fleet.
    #[serde(skip)]
    pub(super) floors: Option<Floors>,
    #[serde(skip)]
    scenario: String,
}

#[derive(Serialize)]
struct Figure {
    scenario: String,
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<f64>,
    /// What the server alone needs for it, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<f64>,
}

impl Report {
    pub(crate) fn new(real: bool, concurrent: u16) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let server = if real { "real" } else { "embedded" };
        Self {
            server,
            cores,
            concurrent,
            figures: Vec::new(),
            phases: Vec::new(),
            floors: None,
            scenario: String::new(),
        }
    }

    /// Names the scenario that the next figures belong to.
    pub(crate) fn begin(&mut self, scenario: &str) {
        eprintln!("measuring {scenario} …");
        self.scenario = scenario.to_owned();
    }

    /// Notes a figure; the aim is on 2 cores with a real server.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str, aim: Option<f64>) {
        self.add(name.into(), value, unit, aim, None);
    }

    fn add(&mut self, name: String, value: f64, unit: &'static str, aim: Option<f64>, floor: Option<f64>) {
        let figure = Figure { scenario: self.scenario.clone(), name, value, unit, aim, floor };
        eprintln!("  {}", line(&figure));
        self.figures.push(figure);
    }

    /// A span of time, in seconds, beside what the server alone needs for the same requests.
    pub(crate) fn time_over(
        &mut self,
        name: String,
        value: Duration,
        aim: Duration,
        floor: Option<Duration>,
    ) {
        let floor = floor.map(|floor| floor.as_secs_f64());
        self.add(name, value.as_secs_f64(), "s", Some(aim.as_secs_f64()), floor);
        if let Some(floor) = floor {
            self.note("… of the server's own floor", value.as_secs_f64() / floor, "×", Some(OVER_FLOOR));
        }
    }

    /// A span of time, in the unit that reads best.
    pub(crate) fn time(&mut self, name: impl Into<String>, value: Duration, aim: Option<Duration>) {
        if aim.unwrap_or(value) < Duration::from_secs(1) {
            self.note(name, value.as_secs_f64() * 1e3, "ms", aim.map(|aim| aim.as_secs_f64() * 1e3));
        } else {
            self.note(name, value.as_secs_f64(), "s", aim.map(|aim| aim.as_secs_f64()));
        }
    }

    /// Median and 99th percentile of some latencies.
    pub(crate) fn percentiles(
        &mut self,
        name: &str,
        mut latencies: Vec<Duration>,
        p50: Duration,
        p99: Duration,
    ) {
        latencies.sort_unstable();
        let at = |share: f64| {
            let rank = (latencies.len() as f64 * share).ceil() as usize;
            latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        let (median, tail) = (at(0.5), at(0.99));
        self.time(format!("{name}: p50"), median, Some(p50));
        self.time(format!("{name}: p99"), tail, Some(p99));
    }

    /// Notes what a phase of the scenario cost.
    pub(crate) fn phase(&mut self, phase: Phase) {
        self.phases.push(Phase { scenario: self.scenario.clone(), ..phase });
    }

    /// The Git server's own time, apart from what the controllers needed.
    pub(crate) fn git(&mut self, git: &GitServer) {
        let (requests, spent) = git.spent();
        self.note("Git server: requests", requests as f64, "", None);
        self.note("Git server: its own time", spent.as_secs_f64(), "s", None);
    }

    /// The table.
    pub(crate) fn print(&self) {
        println!("\n{} API server, {} cores, --concurrent {}\n", self.server, self.cores, self.concurrent);
        let mut scenario = "";
        for figure in &self.figures {
            if figure.scenario != scenario {
                scenario = &figure.scenario;
                println!("{scenario}");
            }
            println!("  {}", line(figure));
        }
        println!("\n{}", costs::head());
        for phase in &self.phases {
            println!("{}", costs::row(phase));
        }
        if self.server == "embedded" {
            println!(
                "\nAims are for a real server; figures of the embedded API compare only with each other."
            );
        }
    }

    /// The same as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?).with_context(|| path.display().to_string())
    }
}

fn line(figure: &Figure) -> String {
    let aim = match figure.aim {
        Some(aim) => format!("aim {:>9} {}", number(aim), if figure.value <= aim { "✓" } else { "✗" }),
        None => String::new(),
    };
    let aim = match (figure.aim, figure.floor) {
        (Some(wanted), Some(floor)) if floor > wanted => {
            format!("{aim} (the server alone needs {})", number(floor))
        }
        _ => aim,
    };
    format!("{:<58} {:>9} {:<3} {aim}", figure.name, number(figure.value), figure.unit)
}

fn number(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() { format!("{value:.0}") } else { format!("{value:.2}") }
}
