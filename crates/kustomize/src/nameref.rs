//! Fixing references by name after names changed.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use sluice_manifest::yaml::{Node, Tag};

use crate::config::{Config, Referrers};
use crate::error::{Result, bad};
use crate::fieldspec::{Create, FieldSpec, split_path, visit_parts};
use crate::id::{Gvk, ResId, effective_namespace};
use crate::node::{self, Shape};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::session::Session;

/// What a reference may have to be changed to.
struct Candidate {
    /// Position among all resources.
    at: usize,
    id: ResId,
    /// The one that counts.
    namespace: String,
    former: Vec<ResId>,
    cluster_scoped: bool,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Candidate {
    fn is_former(&self, gvk: &Gvk) -> bool {
        self.former.iter().any(|id| id.gvk.is_selected(gvk))
    }

    fn original_namespace(&self) -> &str {
        self.former.first().unwrap_or(&self.id).effective_namespace()
    }
}

struct Candidates {
    list: Vec<Candidate>,
    /// Positions in `list` by former name.
    by_name: HashMap<String, Places>,
    /// All namespaces a candidate or other resource is or was first in.
    namespaces: Namespaces,
}

/// Positions of candidates that bore one name, in order.
#[derive(Default)]
struct Places {
    all: Vec<usize>,
    cluster_scoped: Vec<usize>,
    /// The others, by the namespace they are in.
    by_namespace: HashMap<String, Vec<usize>>,
}

/// Fewer candidates than this are looked at one by one.
const MANY: usize = 8;

impl Places {
    fn add(&mut self, place: usize, candidate: &Candidate) {
        if self.all.last() == Some(&place) {
            return;
        }
        self.all.push(place);
        if candidate.cluster_scoped {
            self.cluster_scoped.push(place);
        } else {
            self.by_namespace.entry(candidate.namespace.clone()).or_default().push(place);
        }
    }

    /// Those the referrer may be able to see, in order.
    fn seen_by(&self, referrer: &Referrer) -> Cow<'_, [usize]> {
        if self.all.len() < MANY || referrer.cluster_scoped {
            return Cow::Borrowed(&self.all);
        }
        let subjects = referrer.subjects.iter().map(|namespace| effective_namespace(false, namespace));
        let namespaces = subjects.chain([referrer.namespace.as_str()]);
        let inside = namespaces.filter_map(|namespace| self.by_namespace.get(namespace)).flatten();
        let mut seen: Vec<usize> = inside.chain(&self.cluster_scoped).copied().collect();
        seen.sort_unstable();
        seen.dedup();
        Cow::Owned(seen)
    }
}

#[derive(Default)]
struct Namespaces {
    /// Where what is now in a namespace, as it is written, was first.
    original: HashMap<String, HashSet<String>>,
    current: HashSet<String>,
}

impl Namespaces {
    /// Whether anything the referrer can see, of whatever name, was first in the namespace.
    fn was_first(&self, namespace: &str, referrer: &Referrer) -> bool {
        if referrer.cluster_scoped {
            return self.original.values().any(|original| original.contains(namespace));
        }
        let of = |now: &str| self.original.get(now).is_some_and(|original| original.contains(namespace));
        let unwritten = referrer.namespace == effective_namespace(false, "");
        of(&referrer.namespace)
            || (unwritten && of(""))
            || referrer.subjects.iter().any(|subject| of(subject))
    }
}

fn collect(resources: &Resources) -> Candidates {
    let mut list = Vec::new();
    let mut by_name: HashMap<String, Places> = HashMap::new();
    let mut namespaces = Namespaces::default();
    for (at, resource) in resources.list().iter().enumerate() {
        let id = resource.id();
        let former = resource.former_ids();
        let cluster_scoped = id.gvk.is_cluster_scoped();
        namespaces.current.insert(id.effective_namespace().to_owned());
        if !cluster_scoped {
            let first = former.first().unwrap_or(&id).effective_namespace().to_owned();
            namespaces.original.entry(id.namespace.clone()).or_default().insert(first);
        }
        if former.is_empty() {
            continue;
        }
        let (prefixes, suffixes) = (resource.history.prefixes.clone(), resource.history.suffixes.clone());
        let namespace = id.effective_namespace().to_owned();
        let candidate = Candidate { at, id, namespace, former, cluster_scoped, prefixes, suffixes };
        for id in &candidate.former {
            by_name.entry(id.name.clone()).or_default().add(list.len(), &candidate);
        }
        list.push(candidate);
    }
    Candidates { list, by_name, namespaces }
}

/// A field to look at, with its path split once for all resources.
struct Field<'a> {
    spec: &'a FieldSpec,
    target: &'a Gvk,
    parts: Vec<String>,
}

/// Rewrites all references to what was renamed.
pub(crate) fn fix(session: &Session<'_>, resources: &mut Resources, config: &Config) -> Result<()> {
    let candidates = collect(resources);
    let mut by_kind: HashMap<&str, Vec<Field<'_>>> = HashMap::new();
    let mut order = 0_usize;
    let mut orders: HashMap<*const FieldSpec, usize> = HashMap::new();
    for Referrers { target, fields } in &config.name_references {
        for spec in fields {
            let parts = split_path(&spec.path, '/');
            by_kind.entry(spec.gvk.kind.as_str()).or_default().push(Field { spec, target, parts });
            orders.insert(std::ptr::from_ref(spec), order);
            order += 1;
        }
    }
    let choose = |gvk: &Gvk| {
        let any_kind = if gvk.kind.is_empty() { None } else { by_kind.get("") };
        let own_kind = by_kind.get(gvk.kind.as_str());
        let mut fields: Vec<&Field<'_>> = own_kind.into_iter().chain(any_kind).flatten().collect();
        fields.retain(|field| gvk.is_selected(&field.spec.gvk));
        fields.sort_by_key(|field| orders.get(&std::ptr::from_ref(field.spec)).copied());
        fields
    };
    let mut chosen: HashMap<Gvk, Vec<&Field<'_>>> = HashMap::new();
    for resource in resources.list_mut() {
        session.check()?;
        let gvk = resource.original_gvk();
        let fields = match chosen.get(&gvk) {
            Some(fields) => fields,
            None => chosen.entry(gvk).or_insert_with_key(choose),
        };
        session.step(fields.len())?;
        if !fields.is_empty() {
            fix_one(session, resource, fields, &candidates)?;
        }
    }
    Ok(())
}

fn fix_one(
    session: &Session<'_>,
    resource: &mut Resource,
    fields: &[&Field<'_>],
    candidates: &Candidates,
) -> Result<()> {
    let referrer = Referrer::new(resource)?;
    let mut tree = std::mem::replace(&mut resource.node, Node::null());
    let mut result = Ok(());
    for field in fields {
        let select = Select { session, referrer: &referrer, field, candidates };
        result = visit_parts(&mut tree, field.spec, &field.parts, Create::Nothing, &mut |at| select.set(at))
            .map_err(|error| {
                error.wrap(format!(
                    "updating name reference in '{}' field of '{}'",
                    field.spec.path, referrer.id
                ))
            });
        if result.is_err() {
            break;
        }
    }
    resource.node = tree;
    resource.settle_twins();
    result
}

/// What of the referring object the choice depends on.
struct Referrer {
    id: ResId,
    /// The one that counts.
    namespace: String,
    cluster_scoped: bool,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    /// `roleRef`'s group and kind.
    role: Option<Gvk>,
    /// Namespaces of the service accounts a RoleBinding speaks of.
    subjects: HashSet<String>,
}

impl Referrer {
    fn new(resource: &Resource) -> Result<Self> {
        let id = resource.id();
        let role = resource.node.get("roleRef").and_then(|role| {
            let text = |key: &str| role.get(key).map(|value| value.text().unwrap_or("").to_owned());
            Some(Gvk { group: text("apiGroup")?, version: String::new(), kind: text("kind")? })
        });
        let mut subjects = HashSet::new();
        if id.gvk.kind == "RoleBinding" {
            for subject in resource.node.get("subjects").and_then(Node::items).unwrap_or_default() {
                let Some(namespace) = subject.get("namespace") else { continue };
                if subject.get("kind").and_then(Node::text) != Some("ServiceAccount") {
                    continue;
                }
                if !namespace.is_scalar()
                    || !matches!(namespace.tag, Tag::Str | Tag::Custom(_) | Tag::Timestamp)
                {
                    return Err(bad!("Invalid Input: namespace is blank for resource \"{id}\"\n"));
                }
                subjects.insert(namespace.text().unwrap_or("").to_owned());
            }
        }
        let (prefixes, suffixes) = (resource.history.prefixes.clone(), resource.history.suffixes.clone());
        let cluster_scoped = id.gvk.is_cluster_scoped();
        let namespace = id.effective_namespace().to_owned();
        Ok(Self { id, namespace, cluster_scoped, prefixes, suffixes, role, subjects })
    }
}

struct Select<'a> {
    session: &'a Session<'a>,
    referrer: &'a Referrer,
    field: &'a Field<'a>,
    candidates: &'a Candidates,
}

/// Whether the shorter list is the end of the longer one; the empty list only of the empty one.
fn same_ending(left: &[String], right: &[String]) -> bool {
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    if short.is_empty() { long.is_empty() } else { long.ends_with(short) }
}

impl Select<'_> {
    fn set(&self, at: &mut Node) -> Result<()> {
        if at.is_null() {
            return Ok(());
        }
        match node::shape(at) {
            Shape::Scalar => self.set_scalar(at),
            Shape::Mapping => self.set_mapping(at),
            Shape::Sequence => {
                for item in at.items_mut().into_iter().flatten() {
                    match node::shape(item) {
                        Shape::Scalar => self.set_scalar(item)?,
                        Shape::Mapping => self.set_mapping(item)?,
                        Shape::Sequence => return Err(bad!("node must be a scalar or a map")),
                    }
                }
                Ok(())
            }
        }
    }

    fn set_scalar(&self, at: &mut Node) -> Result<()> {
        let name = at.text().unwrap_or("");
        match self.choose(name, None, false)? {
            Some(referral) if referral.id.name != name => {
                self.session.spend(referral.id.name.len())?;
                node::set_scalar(at, referral.id.name.clone())
            }
            _ => Ok(()),
        }
    }

    fn set_mapping(&self, at: &mut Node) -> Result<()> {
        let Some(name) = at.get("name") else {
            return Err(bad!("path config error; no 'name' field in node"));
        };
        let name = name.text().unwrap_or("").to_owned();
        let namespace = at.get("namespace").map(|namespace| namespace.text().unwrap_or("").to_owned());
        let Some(referral) = self.choose(&name, namespace.as_deref(), true)? else { return Ok(()) };
        let id = &referral.id;
        if id.name == name && id.namespace.is_empty() {
            return Ok(());
        }
        self.session.spend(id.name.len() + id.namespace.len())?;
        if !id.name.is_empty() {
            node::set_field(at, "name", node::untagged(id.name.as_str()));
        }
        if !id.namespace.is_empty() {
            node::set_field(at, "namespace", node::untagged(id.namespace.as_str()));
        }
        Ok(())
    }

    /// Whether the referrer can see the candidate at all.
    fn is_reachable(&self, candidate: &Candidate) -> bool {
        self.referrer.cluster_scoped
            || candidate.cluster_scoped
            || candidate.namespace == self.referrer.namespace
            || self.referrer.subjects.contains(&candidate.id.namespace)
    }

    fn is_same_namespace(&self, candidate: &Candidate) -> bool {
        self.referrer.cluster_scoped
            || candidate.cluster_scoped
            || candidate.id.gvk.kind == "ServiceAccount"
            || candidate.namespace == self.referrer.namespace
    }

    fn choose(
        &self,
        name: &str,
        namespace: Option<&str>,
        with_namespaces: bool,
    ) -> Result<Option<&Candidate>> {
        let Some(places) = self.candidates.by_name.get(name) else { return Ok(None) };
        let mut list: Vec<&Candidate> = places
            .seen_by(self.referrer)
            .iter()
            .filter_map(|at| self.candidates.list.get(*at))
            .filter(|c| self.is_reachable(c))
            .collect();
        if let Some(namespace) = namespace {
            let known = &self.candidates.namespaces;
            if known.was_first(namespace, self.referrer) {
                list.retain(|c| c.original_namespace() == namespace);
            } else if known.current.contains(namespace) {
                list.retain(|c| c.namespace == namespace);
            } else {
                return Ok(None);
            }
        }
        list.retain(|c| c.is_former(self.field.target));
        if self.field.spec.path.ends_with("roleRef/name")
            && let Some(role) = &self.referrer.role
        {
            list.retain(|c| c.is_former(role));
        }
        list.retain(|c| self.is_same_namespace(c));
        if list.len() <= 1 {
            return Ok(list.pop());
        }
        let referrer = self.referrer;
        list.retain(|c| {
            let empty = |a: &[String], b: &[String]| a.is_empty() || b.is_empty();
            (empty(&c.prefixes, &referrer.prefixes) || same_ending(&c.prefixes, &referrer.prefixes))
                && (empty(&c.suffixes, &referrer.suffixes) || same_ending(&c.suffixes, &referrer.suffixes))
        });
        if list.len() <= 1 {
            return Ok(list.pop());
        }
        list.retain(|c| {
            same_ending(&c.prefixes, &referrer.prefixes) && same_ending(&c.suffixes, &referrer.suffixes)
        });
        let Some(first) = list.first() else { return Ok(None) };
        let alike = list.iter().all(|c| {
            c.id.name == first.id.name && (!with_namespaces || c.id.namespace == first.id.namespace)
        });
        if alike {
            return Ok(Some(first));
        }
        let ids: Vec<String> = list.iter().map(|c| c.id.to_string()).collect();
        Err(bad!(
            "found multiple possible referrals: {}\n**** Too many possible referral targets to referrer {}, at positions {:?}",
            ids.join(", "),
            referrer.id,
            list.iter().map(|c| c.at).collect::<Vec<_>>()
        ))
    }
}
