//! The options of a request, refused before anything is done when the server does not know them.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::server::Call;
use crate::status::{Cause, Refusal, Subject};

const LONGEST_MANAGER: usize = 128;

/// Refuses what no server of this version understands.
pub(crate) fn check(call: &Call) -> Result<(), Refusal> {
    if !is_acceptable(&call.parts.headers) {
        return Err(Refusal::not_acceptable());
    }
    let causes = match call.verb {
        "create" | "update" | "patch" => of_a_write(call),
        "delete" | "deletecollection" => dry_run(call).into_iter().collect(),
        "list" => {
            of_a_version(call.query.get("resourceVersion"))?;
            of_a_list(call)
        }
        _ => Vec::new(),
    };
    if causes.is_empty() { Ok(()) } else { Err(refused(kind_of_options(call.verb), causes)) }
}

/// Whether the client takes any of the forms that a server has. Here all of them come as JSON.
fn is_acceptable(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forms = ["json", "yaml", "protobuf", "cbor", "*"];
    accept.is_empty() || forms.iter().any(|form| accept.contains(form))
}

fn refused(kind: &str, causes: Vec<Cause>) -> Refusal {
    Refusal::invalid(
        &Subject { group: "meta.k8s.io".into(), kind: kind.into(), ..Default::default() },
        causes,
    )
}

fn kind_of_options(verb: &str) -> &'static str {
    match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        "list" => "ListOptions",
        _ => "DeleteOptions",
    }
}

fn of_a_write(call: &Call) -> Vec<Cause> {
    let mut causes = Vec::new();
    let kind = call.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let applies = kind.starts_with("application/apply-patch");
    if call.verb == "patch" && !applies && call.query.is_given("force") {
        causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
    }
    if call.query.get("fieldManager").len() > LONGEST_MANAGER {
        let text = format!("Too long: may not be more than {LONGEST_MANAGER} bytes");
        causes.push(Cause::new("FieldValueTooLong", "fieldManager", text));
    }
    causes.extend(dry_run(call));
    let validation = call.query.get("fieldValidation");
    if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
        let known = ["", "Ignore", "Strict", "Warn"];
        causes.push(Cause::unsupported("fieldValidation", &json!(validation), &known));
    }
    causes
}

fn dry_run(call: &Call) -> Option<Cause> {
    let given = call.query.get("dryRun");
    (!matches!(given, "" | "All")).then(|| Cause::unsupported("dryRun", &json!([given]), &["All"]))
}

fn of_a_version(given: &str) -> Result<(), Refusal> {
    if given.is_empty() || given.parse::<u64>().is_ok() {
        return Ok(());
    }
    let given = Value::from(given);
    let text = format!("strconv.ParseUint: parsing {given}: invalid syntax");
    let text = format!("invalid resource version: resourceVersion: Invalid value: {given}: {text}");
    Err(Refusal::bad_request(text))
}

fn of_a_list(call: &Call) -> Vec<Cause> {
    let way = call.query.get("resourceVersionMatch");
    match way {
        "" => Vec::new(),
        _ if call.query.get("resourceVersion").is_empty() => {
            let text = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            vec![Cause::forbidden("resourceVersionMatch", text)]
        }
        "Exact" | "NotOlderThan" => Vec::new(),
        _ => {
            let known = ["Exact", "NotOlderThan", ""];
            vec![Cause::unsupported("resourceVersionMatch", &json!(way), &known)]
        }
    }
}
