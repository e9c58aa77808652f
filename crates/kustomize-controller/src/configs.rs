//! Labelled ConfigMaps and Secrets, by their metadata only: whoever refers to one is visited when it changes.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use sluice_api::kustomize::v1::SubstituteKind;
use sluice_runtime::{Host, Key, Urgency};

use crate::context::Context;
use crate::gate::reference_key;
use crate::order;
use crate::references::ReferenceKey;

/// Namespace and name.
type Place = (String, String);

/// What a change means for those who refer to the object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    /// It is in this version; who has read another one may have done so just before.
    Found(String),
    /// It changed.
    Changed,
}

/// The labelled objects of one kind, with their versions.
#[derive(Debug, Default)]
struct Known {
    versions: HashMap<Place, String>,
    /// A list as it comes in.
    listed: HashMap<Place, String>,
    /// True once the first list is in.
    started: bool,
}

impl Known {
    /// Takes note of an event; answers what is new.
    fn take(&mut self, event: Event<(Place, String)>) -> Vec<(Place, News)> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply((place, version)) => {
                self.listed.insert(place, version);
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.versions, std::mem::take(&mut self.listed));
                if !std::mem::replace(&mut self.started, true) {
                    let found =
                        |(place, version): (&Place, &String)| (place.clone(), News::Found(version.clone()));
                    return self.versions.iter().map(found).collect();
                }
                let now = &self.versions;
                let gone = before.keys().filter(|place| !now.contains_key(*place));
                let changed = now.iter().filter(|(place, version)| before.get(*place) != Some(*version));
                changed
                    .map(|(place, _)| place)
                    .chain(gone)
                    .map(|place| (place.clone(), News::Changed))
                    .collect()
            }
            Event::Apply((place, version)) => {
                self.versions.insert(place.clone(), version);
                vec![(place, News::Changed)]
            }
            Event::Delete((place, _)) => {
                self.versions.remove(&place);
                vec![(place, News::Changed)]
            }
        }
    }
}

/// Follows the labelled objects of one kind.
pub(crate) async fn follow<K>(context: Arc<Context>, host: Host, kind: SubstituteKind)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = match &host.scope.namespace {
        Some(namespace) => Api::namespaced(host.client.clone(), namespace),
        None => Api::all(host.client.clone()),
    };
    let config = watcher::Config::default().labels(&context.options.config_selector);
    let mut events = std::pin::pin!(sluice_runtime::watch::events(api, config));
    let mut known = Known::default();
    let essence = |object: PartialObjectMeta<K>| {
        let place = (object.namespace().unwrap_or_default(), object.name_any());
        (place, object.metadata.resource_version.unwrap_or_default())
    };
    while let Some(event) = events.next().await {
        let event = match event {
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
            Event::InitApply(object) => Event::InitApply(essence(object)),
            Event::Apply(object) => Event::Apply(essence(object)),
            Event::Delete(object) => Event::Delete(essence(object)),
        };
        for ((namespace, name), news) in known.take(event) {
            wake_referrers(&context, &ReferenceKey { kind, namespace, name }, &news);
        }
    }
}

fn wake_referrers(context: &Context, changed: &ReferenceKey, news: &News) {
    let mut all = context.handle.referring(&reference_key(changed.kind, &changed.namespace, &changed.name));
    match news {
        News::Found(version) => {
            all.retain(|object| context.sessions.may_lack(&Key::of(&**object), &changed.to_string(), version))
        }
        News::Changed => context.references.forget(changed),
    }
    order::by_dependencies(&mut all);
    for object in all {
        context.handle.enqueue(&Key::of(&*object), Urgency::Fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(known: &mut Known, objects: &[(&str, &str)]) -> Vec<(String, News)> {
        known.take(Event::Init);
        for (name, version) in objects {
            known.take(Event::InitApply((place(name), (*version).to_owned())));
        }
        names(known.take(Event::InitDone))
    }

    fn place(name: &str) -> Place {
        ("apps".to_owned(), name.to_owned())
    }

    fn names(news: Vec<(Place, News)>) -> Vec<(String, News)> {
        let mut names: Vec<_> = news.into_iter().map(|((_, name), news)| (name, news)).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    }

    #[test]
    fn a_further_list_tells_what_changed_came_and_went_and_the_first_what_there_is() {
        let mut known = Known::default();
        let changed = |name: &str| (name.to_owned(), News::Changed);
        let found = |name: &str, version: &str| (name.to_owned(), News::Found(version.to_owned()));
        assert_eq!(list(&mut known, &[("a", "1"), ("b", "2")]), [found("a", "1"), found("b", "2")]);
        assert_eq!(list(&mut known, &[("a", "1"), ("b", "2")]), []);
        assert_eq!(list(&mut known, &[("b", "3"), ("c", "4")]), [changed("a"), changed("b"), changed("c")]);
        assert_eq!(names(known.take(Event::Apply((place("c"), "5".to_owned())))), [changed("c")]);
        assert_eq!(names(known.take(Event::Delete((place("b"), "6".to_owned())))), [changed("b")]);
        assert_eq!(list(&mut known, &[("c", "5")]), []);
    }
}
