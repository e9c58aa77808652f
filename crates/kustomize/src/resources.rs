//! The ordered collection of the resources of a build.

use std::collections::{BTreeMap, HashMap, HashSet};

use sluice_manifest::yaml::Node;

use crate::error::{Result, bad};
use crate::gojson;
use crate::history::Behavior;
use crate::id::ResId;
use crate::node;
use crate::resource::Resource;
use crate::schema::Schemas;

/// Resources in the order they were added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resources {
    list: Vec<Resource>,
    /// The present identities; absent when some may have changed.
    present: Option<HashSet<ResId>>,
    /// Places by every name a resource bears, bore, or once bore: to be looked at again before use.
    names: Option<HashMap<String, Vec<usize>>>,
    /// Whether a change left some resource empty.
    any_gone: bool,
}

fn note_names(names: &mut HashMap<String, Vec<usize>>, at: usize, resource: &Resource) {
    let former = resource.history.former.iter().map(|former| former.name.as_str());
    for name in former.chain([resource.name()]) {
        match names.get_mut(name) {
            Some(places) if places.last() == Some(&at) => {}
            Some(places) => places.push(at),
            None => {
                names.insert(name.to_owned(), vec![at]);
            }
        }
    }
}

impl Resources {
    pub(crate) fn of(list: Vec<Resource>) -> Self {
        Self { list, ..Self::default() }
    }

    /// Resources whose identities must differ.
    pub(crate) fn distinct(list: Vec<Resource>) -> Result<Self> {
        let mut resources = Self { list: Vec::with_capacity(list.len()), ..Self::default() };
        list.into_iter().try_for_each(|resource| resources.append(resource))?;
        Ok(resources)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn list(&self) -> &[Resource] {
        &self.list
    }

    /// The resources, to change in any way.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Resource> {
        self.present = None;
        self.names = None;
        &mut self.list
    }

    pub(crate) fn into_list(self) -> Vec<Resource> {
        self.list
    }

    /// Drops what patches took away.
    pub(crate) fn drop_gone(&mut self) {
        if std::mem::take(&mut self.any_gone) {
            self.list_mut().retain(|resource| !resource.is_gone());
        }
    }

    /// Places at which something may bear or have borne the name, in order.
    pub(crate) fn places(&mut self, name: &str) -> Vec<usize> {
        let list = &self.list;
        let names = self.names.get_or_insert_with(|| {
            let mut names = HashMap::with_capacity(list.len());
            list.iter().enumerate().for_each(|(at, resource)| note_names(&mut names, at, resource));
            names
        });
        let mut places = names.get(name).cloned().unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Changes one resource in any way, and keeps the names in mind.
    pub(crate) fn change(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut Resource) -> Result<()>,
    ) -> Result<()> {
        self.present = None;
        let Some(resource) = self.list.get_mut(at) else { return Ok(()) };
        let result = change(resource);
        self.any_gone |= resource.is_gone();
        if let Some(names) = &mut self.names {
            note_names(names, at, resource);
        }
        result
    }

    /// Adds a resource whose identity must be new.
    pub(crate) fn append(&mut self, resource: Resource) -> Result<()> {
        let list = &self.list;
        let present = self.present.get_or_insert_with(|| list.iter().map(Resource::id).collect());
        let id = resource.id();
        if present.contains(&id) {
            return Err(bad!("may not add resource with an already registered id: {id}"));
        }
        present.insert(id);
        if let Some(names) = &mut self.names {
            note_names(names, self.list.len(), &resource);
        }
        self.list.push(resource);
        Ok(())
    }

    /// Refuses two resources of one identity, as upstream does whenever a filter ran over all of them.
    pub(crate) fn check_distinct(&mut self) -> Result<()> {
        let mut present = HashSet::with_capacity(self.list.len());
        for resource in &self.list {
            let id = resource.id();
            if present.contains(&id) {
                return Err(bad!("may not add resource with an already registered id: {id}"));
            }
            present.insert(id);
        }
        self.present = Some(present);
        Ok(())
    }

    pub(crate) fn append_all(&mut self, other: Resources) -> Result<()> {
        other.list.into_iter().try_for_each(|resource| self.append(resource))
    }

    /// Everything that bears or bore the identity.
    fn matching_any(&mut self, id: &ResId) -> Vec<usize> {
        let mut found = self.places(&id.name);
        found.retain(|at| self.list.get(*at).is_some_and(|resource| resource.any_id(|other| other.is(id))));
        found
    }

    /// The one resource a patch without a target is for.
    pub(crate) fn patch_target(&mut self, id: &ResId) -> Result<usize> {
        let found = self.matching_any(id);
        let count = match found[..] {
            [at] => return Ok(at),
            [] => "no",
            _ => "multiple",
        };
        let quoted = quote(&id.to_string());
        Err(bad!(
            "no resource matches strategic merge patch {quoted}: {count} matches for Id {id}; failed to find unique target for patch {id}"
        ))
    }

    /// Takes the result of a generator in.
    pub(crate) fn absorb(&mut self, mut resource: Resource) -> Result<()> {
        let id = resource.id();
        let matches = self.matching_any(&id);
        let shown = go_struct(&id);
        let behavior = resource.history.behavior;
        match matches[..] {
            [] if matches!(behavior, Behavior::Merge | Behavior::Replace) => {
                Err(bad!("id {shown} does not exist; cannot merge or replace"))
            }
            [] => self.append(resource),
            [at] => {
                let Some(old) = self.list.get_mut(at) else { return Err(bad!("id lookup failure")) };
                match behavior {
                    Behavior::Replace => resource.merge_meta_from(old),
                    Behavior::Merge => {
                        let origin = old.annotation(crate::resource::ORIGIN).map(str::to_owned);
                        resource.merge_meta_from(old);
                        for field in ["data", "binaryData"] {
                            merge_data(&mut resource, old, field);
                        }
                        if let Some(origin) = origin {
                            resource.annotate(crate::resource::ORIGIN, &origin);
                        }
                    }
                    _ => {
                        return Err(bad!(
                            "id {shown} exists; can not use behavior: '{}', behavior must be merge or replace",
                            behavior.word()
                        ));
                    }
                }
                // The old names stay, and so do the indexes. The kind may not have: a patch can have changed it.
                let merged = resource.id();
                if merged != old.id() {
                    return Err(match self.list.iter().filter(|other| other.id() == merged).count() {
                        0 => bad!("cannot find resource with id {merged} to replace"),
                        1 => bad!("unexpected target index in replacement"),
                        count => bad!("in Replace: id matched {count} resources"),
                    });
                }
                *old = resource;
                Ok(())
            }
            _ => {
                let found = matches.iter().filter_map(|at| self.list.get(*at));
                let shown: Vec<String> = found.map(Resource::to_shown).collect();
                Err(bad!("found multiple objects [{}] that could accept merge of {id}", shown.join(" ")))
            }
        }
    }

    /// Applies patches to one resource each; those they delete go in the end.
    pub(crate) fn patch_targets(&mut self, patches: &[Resource], schemas: &Schemas) -> Result<()> {
        for patch in patches {
            let at = self.patch_target(&patch.original_id())?;
            self.patch_one(at, patch, schemas)?;
        }
        self.drop_gone();
        Ok(())
    }

    /// Applies a patch to one resource, which may be gone afterwards.
    fn patch_one(&mut self, at: usize, patch: &Resource, schemas: &Schemas) -> Result<()> {
        self.change(at, |target| {
            let id = target.id();
            target.apply_patch(patch, schemas).map_err(|error| error.concerning(&id))
        })
    }

    /// Applies a patch to the chosen resources in their own kind; those it deletes go.
    pub(crate) fn patch_chosen(
        &mut self,
        chosen: &[usize],
        patch: &Resource,
        schemas: &Schemas,
    ) -> Result<()> {
        for &at in chosen {
            let Some(target) = self.list.get(at) else { continue };
            let mut copy = patch.clone();
            copy.merge_meta_from(patch);
            copy.set_gvk(&target.gvk());
            copy.set_kind(patch.kind());
            self.patch_one(at, &copy, schemas)?;
        }
        self.drop_gone();
        if patch.history.allow_name_change || patch.history.allow_kind_change {
            self.check_distinct()
        } else {
            Ok(())
        }
    }

    /// What the collection amounts to, in upstream's words: for comparing before and after.
    pub(crate) fn snapshot(&self) -> Result<Vec<(String, serde_json::Value)>> {
        let mut all = self
            .list
            .iter()
            .map(|resource| {
                let mut resource = resource.clone();
                let mut labels = resource.labels();
                if labels.remove("validated-by").is_some() {
                    resource.set_labels(&labels);
                }
                resource.clean_annotations(&[]);
                Ok((resource.id().to_string(), resource.to_json()?))
            })
            .collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// Refuses what differs from an earlier [`Self::snapshot`].
    pub(crate) fn check_unchanged(&self, before: &[(String, serde_json::Value)]) -> Result<()> {
        let after = self.snapshot()?;
        let refuse = |what: String| Err(bad!("validator shouldn't modify the resource map: {what}"));
        for (id, value) in before {
            // Both are sorted.
            let at = after.partition_point(|(other, _)| other < id);
            match after.get(at).filter(|(other, _)| other == id) {
                None => return refuse(format!("id in self missing from other; id: {id}")),
                Some((_, other)) if other != value => {
                    // What a secret holds is nobody's business.
                    if value.get("kind").is_some_and(|kind| kind == "Secret") {
                        return refuse(format!("nodes unequal: {id}"));
                    }
                    let (old, new) = (gojson::compact(value), gojson::compact(other));
                    return refuse(format!("nodes unequal: \n -- {old},\n -- {new}"));
                }
                Some(_) => {}
            }
        }
        if before.len() != after.len() {
            return refuse("lists have different number of entries".to_owned());
        }
        Ok(())
    }
}

/// The mapping of texts under `field`, the other's below this one's.
fn merge_data(resource: &mut Resource, other: &Resource, field: &str) {
    let mut data = BTreeMap::new();
    for map in [other.node.get(field), resource.node.get(field)].into_iter().flatten() {
        let pairs = map.pairs().unwrap_or_default().iter();
        let text =
            |node: &Node| if node.is_null() { String::new() } else { node.text().unwrap_or("").to_owned() };
        data.extend(pairs.map(|(key, value)| (text(key), text(value))));
    }
    resource.node.remove(field);
    if data.is_empty() {
        return;
    }
    node::set_field(&mut resource.node, field, node::text_map(&data, node::made_text));
}

/// A text in double quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// An identity as Go dumps its struct.
fn go_struct(id: &ResId) -> String {
    format!(
        "resid.ResId{{Gvk:resid.Gvk{{Group:{}, Version:{}, Kind:{}, isClusterScoped:{}}}, Name:{}, Namespace:{}}}",
        quote(&id.gvk.group),
        quote(&id.gvk.version),
        quote(&id.gvk.kind),
        id.gvk.is_cluster_scoped(),
        quote(&id.name),
        quote(&id.namespace)
    )
}
