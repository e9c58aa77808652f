//! What kept objects from being applied, and what may end that.

use std::time::Duration;

use sluice_apply::{Cluster, Missing, ObjectId, Report};
use sluice_runtime::WakeKey;

use crate::error::Failure;
use crate::health;
use crate::session::Session;

/// What kept objects from being applied.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    texts: Vec<String>,
    missing: Vec<Missing>,
    /// True when something failed that nothing else has to come for.
    failed: bool,
    /// What stands below the errors.
    below: Vec<String>,
}

/// Errors that one message names.
const NAMED: usize = 10;

impl Trouble {
    /// Notes what a report says.
    pub(crate) fn add(&mut self, report: &Report) {
        for error in report.failures() {
            self.texts.push(error.to_string());
            self.failed = true;
        }
        for (missing, error) in report.parked() {
            self.texts.push(error.to_string());
            if !self.missing.contains(missing) {
                self.missing.push(missing.clone());
            }
        }
    }

    /// Lets these lines stand below the errors.
    pub(crate) fn follow(&mut self, lines: Vec<String>) {
        self.below = lines;
    }

    /// True when nothing was kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Watches what is missing, and answers the failure.
    pub(crate) fn fail(mut self, cluster: &Cluster, session: &mut Session, quietly: bool) -> Failure {
        let mut on = Vec::new();
        let mut leases = Vec::new();
        for missing in &self.missing {
            let object = match missing {
                Missing::Kind { group, kind } => {
                    cluster.await_kind(group, kind);
                    on.push(WakeKey::kind(group, kind));
                    continue;
                }
                Missing::Namespace(name) => ObjectId {
                    group: String::new(),
                    kind: "Namespace".to_owned(),
                    namespace: String::new(),
                    name: name.clone(),
                },
                Missing::Termination(id) => id.clone(),
            };
            on.push(health::wake_key(&object));
            leases.push(cluster.watch_object(&object));
        }
        session.missing = leases;
        if quietly && !self.failed {
            return Failure::Soon { on, again: Duration::from_millis(500) };
        }
        let more = self.texts.len().saturating_sub(NAMED);
        self.texts.truncate(NAMED);
        if more > 0 {
            self.texts.push(format!("and {more} more"));
        }
        self.texts.append(&mut self.below);
        let text = self.texts.join("\n");
        let told = session.told.as_ref() == Some(&text);
        session.told = Some(text.clone());
        Failure::Apply { text, told: told && !on.is_empty(), on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_apply::{Error, Failure as Cause, Fate, Outcome, Step};

    fn report(names: &[&str], missing: bool) -> Report {
        let outcomes = names.iter().map(|name| {
            let id = ObjectId {
                group: "example.org".to_owned(),
                kind: "Widget".to_owned(),
                namespace: "apps".to_owned(),
                name: (*name).to_owned(),
            };
            let cause = Cause::Transport("gone".to_owned());
            let error = Error { id: id.clone(), unplaced: false, step: Step::Apply, cause };
            let fate = if missing {
                Fate::Parked { on: Missing::Namespace("apps".to_owned()), error }
            } else {
                Fate::Failed(error)
            };
            Outcome { id, fate }
        });
        Report { outcomes: outcomes.collect() }
    }

    #[test]
    fn failures_are_gathered_and_what_is_missing_is_waited_for_once() {
        let mut trouble = Trouble::default();
        assert!(trouble.is_empty());
        trouble.add(&report(&["a", "b"], true));
        trouble.add(&report(&["c"], false));
        assert_eq!(trouble.missing, [Missing::Namespace("apps".to_owned())]);
        assert!(trouble.failed);
        assert_eq!(trouble.texts[2], "Widget/apps/c apply failed: gone");
    }
}
