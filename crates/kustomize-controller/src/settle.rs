//! What a pass leaves behind: facts, aspects and notes. Decides, and asks nobody.

use std::time::Duration;

use sluice_api::condition::{ConditionStatus, HEALTHY};
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::kustomize::v1::{Inventory as Listed, InventoryEntry, KustomizationFacts};
use sluice_api::{Condition, Reason, Time, keys, reason as common};
use sluice_manifest::Inventory;
use sluice_runtime::{Aspect, Note, Pass, Verdict};

use crate::history::{self, Outcome};
use crate::message::Subject;

/// The results of a pass as they come together.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) facts: KustomizationFacts,
    pub(crate) subject: Subject,
    pub(crate) notes: Vec<Note>,
    health: Option<Aspect>,
}

impl Book {
    /// Starts with what was there before.
    pub(crate) fn open(facts: KustomizationFacts, conditions: &[Condition]) -> Self {
        let health = sluice_api::condition::find(conditions, HEALTHY).map(|condition| {
            Aspect::new(HEALTHY, condition.status, reason(&condition.reason), condition.message.clone())
        });
        Self { facts, subject: Subject::default(), notes: Vec::new(), health }
    }

    /// What was known of health is carried along unless nothing is asked any more.
    pub(crate) fn forget_health(&mut self) {
        self.health = None;
    }

    /// True when health was reached before and not lost since.
    pub(crate) fn is_healthy(&self) -> bool {
        self.health.as_ref().is_some_and(|health| health.status == ConditionStatus::True)
    }

    /// States health.
    pub(crate) fn health(&mut self, status: ConditionStatus, reason: Reason, message: impl Into<String>) {
        self.health = Some(Aspect::new(HEALTHY, status, reason, message));
    }

    /// Tells something.
    pub(crate) fn tell(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// The recorded inventory; lines that cannot be read are kept out of it, and told.
    pub(crate) fn inventory(&self) -> (Inventory, Vec<InventoryEntry>) {
        let mut inventory = Inventory::default();
        let mut odd = Vec::new();
        for entry in self.facts.inventory.iter().flat_map(|listed| &listed.entries) {
            match entry.id.parse() {
                Ok(id) => inventory.insert(id, &entry.v),
                Err(_) => odd.push(entry.clone()),
            }
        }
        (inventory, odd)
    }

    /// Records an inventory.
    pub(crate) fn record(&mut self, inventory: &Inventory) {
        let entries =
            inventory.entries().into_iter().map(|entry| InventoryEntry { id: entry.id, v: entry.v });
        self.facts.inventory = Some(Listed { entries: entries.collect() });
    }

    /// Counts an outcome that came after a build.
    pub(crate) fn count(
        &mut self,
        digest: &str,
        status: Reason,
        at: Time,
        took: Duration,
        applied: Option<String>,
    ) {
        let mut metadata = self.subject.history();
        if let Some(applied) = applied {
            metadata.insert(keys::APPLIED.to_owned(), applied);
        }
        let outcome = Outcome { digest: digest.to_owned(), status, at, took, metadata };
        history::record(&mut self.facts.history, outcome);
    }

    /// Brings what is remembered of the last success up to date, without counting another one.
    pub(crate) fn remember(&mut self, applied: Option<String>) {
        let last = self.facts.history.first_mut();
        if let (Some(last), Some(applied)) = (last, applied)
            && last.last_reconciled_status == ks::RECONCILIATION_SUCCEEDED.as_str()
        {
            last.metadata.insert(keys::APPLIED.to_owned(), applied);
        }
    }

    /// True when the revision at hand is not the one that was applied last, or is of another origin.
    pub(crate) fn has_moved(&self) -> bool {
        self.facts.last_applied_revision.as_ref() != Some(&self.subject.revision)
            || self.facts.last_applied_origin_revision != self.subject.origin
    }

    /// The revision is applied.
    pub(crate) fn advance(&mut self) {
        self.facts.last_attempted_revision = Some(self.subject.revision.clone());
        self.facts.last_applied_revision = Some(self.subject.revision.clone());
        self.facts.last_applied_origin_revision = self.subject.origin.clone();
    }

    /// Ends the pass.
    pub(crate) fn close(self, verdict: Verdict) -> Pass<KustomizationFacts> {
        Pass { facts: self.facts, verdict, aspects: self.health.into_iter().collect(), notes: self.notes }
    }
}

/// Conditions of others than this program's making are carried along too.
fn reason(text: &str) -> Reason {
    [
        common::SUCCEEDED,
        common::PROGRESSING,
        common::FAILED,
        ks::HEALTH_CHECK_FAILED,
        ks::HEALTH_CHECK_CANCELED,
    ]
    .into_iter()
    .find(|reason| reason.as_str() == text)
    .unwrap_or(common::PROGRESSING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn health_is_carried_along_until_it_changes() {
        let condition: Condition = serde_json::from_value(json!({
            "type": "Healthy", "status": "True", "reason": "Succeeded", "message": "Health check passed in 2s",
            "lastTransitionTime": "2024-05-01T10:00:00Z",
        }))
        .unwrap();
        let mut book = Book::open(KustomizationFacts::default(), &[condition]);
        assert!(book.is_healthy());
        let kept = book.clone().close(Verdict::Again).aspects;
        assert_eq!(kept[0].message, "Health check passed in 2s");
        assert_eq!(kept[0].reason.as_str(), "Succeeded");
        book.forget_health();
        assert!(book.close(Verdict::Again).aspects.is_empty());
    }

    #[test]
    fn the_origin_of_a_revision_goes_with_it() {
        let mut book = Book::open(KustomizationFacts::default(), &[]);
        book.subject = Subject { revision: "r1".into(), origin: Some("o".into()) };
        assert!(book.has_moved());
        book.advance();
        assert!(!book.has_moved());
        assert_eq!(book.facts.last_applied_origin_revision.as_deref(), Some("o"));
        book.subject.origin = None;
        assert!(book.has_moved());
        book.subject = Subject { revision: "r2".into(), origin: None };
        assert!(book.has_moved());
        book.advance();
        assert_eq!(book.facts.last_applied_origin_revision, None);
        assert_eq!(book.facts.last_applied_revision.as_deref(), Some("r2"));
    }

    #[test]
    fn what_is_remembered_moves_without_counting_another_success() {
        let mut book = Book::open(KustomizationFacts::default(), &[]);
        book.remember(Some("x".into()));
        assert!(book.facts.history.is_empty());
        let at = Time::new(jiff::Timestamp::UNIX_EPOCH);
        book.count("d", ks::RECONCILIATION_SUCCEEDED, at, Duration::ZERO, Some("a".into()));
        book.remember(Some("b".into()));
        book.remember(None);
        assert_eq!(book.facts.history[0].metadata[keys::APPLIED], "b");
        assert_eq!(book.facts.history[0].total_reconciliations, 1);
    }

    #[test]
    fn an_inventory_survives_and_odd_lines_are_set_apart() {
        let mut book = Book::open(KustomizationFacts::default(), &[]);
        let entry = |id: &str| InventoryEntry { id: id.into(), v: "v1".into() };
        book.facts.inventory = Some(Listed { entries: vec![entry("a_b__Secret"), entry("nonsense")] });
        let (inventory, odd) = book.inventory();
        assert_eq!(inventory.len(), 1);
        assert_eq!(odd, [entry("nonsense")]);
        book.record(&inventory);
        assert_eq!(book.facts.inventory.unwrap().entries, [entry("a_b__Secret")]);
    }
}
