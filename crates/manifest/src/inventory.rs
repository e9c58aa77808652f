//! The set of objects a reconciliation answers for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{IdError, ObjectId};
use crate::object::Object;
use crate::order::{StageKind, apply_order};

/// One line of the inventory as it stands in a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `<namespace>_<name>_<group>_<Kind>`
    pub id: String,
    /// The API version, without the group.
    pub v: String,
}

/// Objects with the version they were last written in. The version is not identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<ObjectId, String>);

impl Inventory {
    /// Reads a status' entries.
    ///
    /// # Errors
    /// The first id that cannot be read.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, IdError> {
        let read = |(id, version): (&str, &str)| Ok((id.parse::<ObjectId>()?, version.to_owned()));
        entries.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The set of `objects`.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        Self(objects.into_iter().map(|o| (o.id(), o.version().to_owned())).collect())
    }

    /// Entries for a status, in the order in which objects are applied.
    pub fn entries(&self) -> Vec<Entry> {
        let mut members: Vec<_> = self.0.iter().collect();
        members.sort_by(|(a, _), (b, _)| {
            let stage = |id| StageKind::of(id, &[]);
            stage(a).cmp(&stage(b)).then_with(|| apply_order(a, b))
        });
        members.into_iter().map(|(id, v)| Entry { id: id.to_string(), v: v.clone() }).collect()
    }

    /// Ids and versions, in a stable order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &str)> {
        self.0.iter().map(|(id, version)| (id, version.as_str()))
    }

    /// The ids, in a stable order.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.0.keys()
    }

    /// The version an object was recorded with.
    pub fn version(&self, id: &ObjectId) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// Whether `id` is recorded.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.0.contains_key(id)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records an object; the newer version stands.
    pub fn insert(&mut self, id: ObjectId, version: impl Into<String>) {
        self.0.insert(id, version.into());
    }

    /// Forgets an object.
    pub fn remove(&mut self, id: &ObjectId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Both sets; versions of `other` win.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(other.0.iter().map(|(id, version)| (id.clone(), version.clone())));
        Self(all)
    }

    /// What stands here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let kept = self.0.iter().filter(|(id, _)| !other.contains(id));
        Self(kept.map(|(id, version)| (id.clone(), version.clone())).collect())
    }

    /// This set without `ids`.
    #[must_use]
    pub fn without<'a>(&self, ids: impl IntoIterator<Item = &'a ObjectId>) -> Self {
        let mut rest = self.clone();
        for id in ids {
            rest.0.remove(id);
        }
        rest
    }
}

impl FromIterator<(ObjectId, String)> for Inventory {
    fn from_iter<T: IntoIterator<Item = (ObjectId, String)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_applies() {
        let ids = [
            "_a_gadgets.example.com_GadgetClass",
            "_b__Namespace",
            "_c_apiextensions.k8s.io_CustomResourceDefinition",
            "n_d_apps_Deployment",
            "n_e__ConfigMap",
            "n_f_example.com_Widget",
            "n_g__ServiceAccount",
        ];
        let inventory = Inventory::from_entries(ids.map(|id| (id, "v1"))).unwrap();
        let order: Vec<String> = inventory.entries().into_iter().map(|entry| entry.id).collect();
        assert_eq!(
            order,
            [
                "_c_apiextensions.k8s.io_CustomResourceDefinition",
                "_b__Namespace",
                "_a_gadgets.example.com_GadgetClass",
                "n_g__ServiceAccount",
                "n_e__ConfigMap",
                "n_d_apps_Deployment",
                "n_f_example.com_Widget"
            ]
        );
    }

    #[test]
    fn a_changed_version_is_the_same_member() {
        let old =
            Inventory::from_entries([("a_x_apps_Deployment", "v1beta2"), ("a_y__Secret", "v1")]).unwrap();
        let new = Inventory::from_entries([("a_x_apps_Deployment", "v1")]).unwrap();
        assert_eq!(old.difference(&new).entries(), [Entry { id: "a_y__Secret".into(), v: "v1".into() }]);
        assert_eq!(old.union(&new).entries().iter().map(|e| &*e.v).collect::<Vec<_>>(), ["v1", "v1"]);
    }
}
